import type { ViewService } from '../../src/api/view-service.ts';
import type { Volume } from '../../src/volume/types.ts';

/** Views without anything under them; what is asked is noted. */
export class FakeViews implements ViewService {
  readonly #calls: unknown[][];
  readonly #records: Map<string, Volume>;

  constructor(calls: unknown[][], records: Map<string, Volume>) {
    this.#calls = calls;
    this.#records = records;
  }

  async attach(of: { volume: string; snapshot: string }, host: string) {
    this.#calls.push(['attach-snapshot', of, host]);
    return endpoint(host);
  }

  async detach(of: { volume: string; snapshot: string }, host: string) {
    this.#calls.push(['detach-snapshot', of, host]);
  }

  async open(source: { volume: string; snapshot: string | null }) {
    this.#calls.push(['open-view', source]);
    const volume = [...this.#records.values()].find((v) => v.name === source.volume);
    return { id: 'view-1', sizeBytes: volume?.sizeBytes ?? 0, endpoint: endpoint('n1') };
  }

  async close(id: string) {
    this.#calls.push(['close-view', id]);
  }
}

function endpoint(host: string) {
  const socket = '/run/hyperscale/attach/view-1.sock';
  const uri = `nbd+unix:///session-1?socket=${socket}`;
  const since = '2026-01-02T03:04:05.000Z';
  return { host, session: 'session-1', boot: `boot-${host}`, since, uri, socket };
}
