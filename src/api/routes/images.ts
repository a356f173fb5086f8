import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import { sha256In } from '../../image/checksum.ts';
import { imageFormatNamed } from '../../image/format.ts';
import { imageView } from '../../image/view.ts';
import { checkVolumeName } from '../../volume/names.ts';
import { policyNamed } from '../../volume/policy.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { answeredElsewhere } from '../forward.ts';
import {
  AdoptedVolumeShape,
  defaultImagePolicy,
  ImageParams,
  ImageShape,
  ImportedImageShape,
  ImportQuery,
  type ImportWishes,
} from '../image-schemas.ts';
import type { ImageService, ImportRequest } from '../image-service.ts';
import { volumeFilter } from '../list-filter.ts';
import { pageByKey } from '../list-page.ts';
import { ImagesQuery, nextField } from '../list-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { fileIn, fileMediaType, takeFiles } from '../upload-body.ts';
import { recordsOf, volumeView } from '../views.ts';

const problem = { default: named(ProblemShape) };
const tags = ['images'];
/** Taken as a stream; there is nothing to check about it here. */
const file = { content: { [fileMediaType]: { schema: Type.Unknown() } } };

/** Images, and files that become images or volumes. */
export async function imageRoutes(app: App, service: NodeService): Promise<void> {
  takeFiles(app);
  app.addHook('preHandler', async (request, reply) =>
    answeredElsewhere(service, request, reply, { target: null, pool: true }),
  );
  app.get(
    '/images',
    {
      schema: {
        operationId: 'listImages',
        summary: 'Images by name, also those that are being imported',
        tags,
        querystring: ImagesQuery,
        response: {
          200: Type.Object({ images: Type.Array(named(ImageShape)), ...nextField }),
          ...problem,
        },
      },
    },
    async (request) => {
      const { state, ...wish } = request.query;
      const nodes = service.nodes();
      const wanted = volumeFilter(wish, nodes);
      const found = imagesOf(service)
        .list()
        .filter(wanted)
        .map((image) => imageView(image, nodes))
        .filter((image) => state === undefined || image.state === state);
      const { entries, next } = pageByKey(found, ({ name }) => name, wish);
      return { images: entries, ...(next === undefined ? {} : { next }) };
    },
  );
  app.post(
    '/images',
    {
      schema: {
        operationId: 'importImage',
        summary: 'Import a file, which is the body; answers when the image can be used',
        tags,
        body: file,
        querystring: ImportQuery,
        response: { 201: named(ImportedImageShape), ...problem },
      },
    },
    async (request, reply) => {
      const wanted = wantedImport(request.query, 'image');
      const body = fileIn(request.body);
      const { volume, notes } = await imagesOf(service).import(wanted, body, clientGone(reply));
      reply.code(201).header('location', `/v1/images/${volume.id}`);
      return { image: imageView(volume, service.nodes()), notes };
    },
  );
  app.post(
    '/volumes/adopt',
    {
      schema: {
        operationId: 'adoptVolume',
        summary: 'Make a volume of a file, which is the body; answers when it can be attached',
        tags: ['volumes'],
        body: file,
        querystring: ImportQuery,
        response: { 201: named(AdoptedVolumeShape), ...problem },
      },
    },
    async (request, reply) => {
      const wanted = wantedImport(request.query, 'volume');
      const body = fileIn(request.body);
      const { volume, notes } = await imagesOf(service).import(wanted, body, clientGone(reply));
      reply.code(201).header('location', `/v1/volumes/${volume.id}`);
      return { volume: volumeView(volume, recordsOf(service)), notes };
    },
  );
  app.get(
    '/images/:image',
    {
      schema: {
        operationId: 'getImage',
        summary: 'One image',
        tags,
        params: ImageParams,
        response: { 200: named(ImageShape), ...problem },
      },
    },
    async (request) => imageView(imagesOf(service).image(request.params.image), service.nodes()),
  );
  app.delete(
    '/images/:image',
    {
      schema: {
        operationId: 'deleteImage',
        summary: 'Delete an image; what volumes need of it stays as long as they do',
        tags,
        params: ImageParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problem },
      },
    },
    async (request, reply) => {
      await imagesOf(service).delete(request.params.image);
      return reply.code(204).send(null);
    },
  );
}

/** Checks everything that can be checked before the file comes. @throws `bad-input` */
function wantedImport(wishes: ImportWishes, as: ImportRequest['as']): ImportRequest {
  checkVolumeName(wishes.name);
  const { format, checksum, maxSizeBytes } = wishes;
  return {
    as,
    name: wishes.name,
    policy: policyNamed(wishes.policy ?? defaultImagePolicy),
    format: format === undefined ? null : imageFormatNamed(format),
    sha256: checksum === undefined ? null : sha256In(checksum),
    maxSizeBytes: maxSizeBytes === undefined ? null : Number(maxSizeBytes),
  };
}

function imagesOf({ images, nodeName }: NodeService): ImageService {
  if (images !== null) return images;
  throw new HyperscaleError('not-supported', `node ${nodeName} has no pool for images`, {
    hint: 'Ask another node.',
  });
}
