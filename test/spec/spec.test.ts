import { describe, expect, it } from 'vitest';
import { breakages, configurations, searchForBreakage, searchOf } from '../../spec/catalogue.ts';
import { search } from '../../spec/search.ts';

/** One search; generous, because the machine may be busy. */
const timeoutMs = 900_000;

describe.concurrent('the model of the protocol', () => {
  for (const configuration of configurations.filter((c) => c.deep !== true)) {
    it(
      `holds: ${configuration.name} (${configuration.checks})`,
      async () => {
        const outcome = await search(searchOf(configuration, 0));
        expect(outcome.steps).toEqual([]);
        expect(outcome.result).toBe('holds');
        expect(outcome.states).toBeGreaterThan(100);
      },
      timeoutMs,
    );
  }
});

describe.concurrent('the model without a rule', () => {
  for (const breakage of breakages) {
    it(
      `is violated: ${breakage.name} (rule ${breakage.rule}: ${breakage.wrong})`,
      async () => {
        const outcome = await search(searchForBreakage(breakage));
        expect(outcome.result).toBe('violated');
        expect(outcome.steps.length).toBeGreaterThan(0);
      },
      timeoutMs,
    );
  }
});
