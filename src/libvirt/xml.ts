import { XMLBuilder, XMLParser } from 'fast-xml-parser';
import { errorText, HyperscaleError } from '../errors.ts';

/**
 * XML as a tree in document order. Texts and attributes stay as they are written in the document
 * (`&amp;` stays `&amp;`), so that what is not changed is written back as it was read; `attribute`
 * and `textOf` decode, `element` and `setAttribute` encode.
 */
export type XmlNode = { [name: string]: XmlNode[] | Record<string, string> | string };

/** libvirt itself takes no longer text (its messages hold strings of 4 MiB). */
const maxLength = 4 * 2 ** 20;
const attributes = ':@';
const text = '#text';

const options = {
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  textNodeName: text,
  commentPropName: '#comment',
  cdataPropName: '#cdata',
  processEntities: false,
};

const parser = new XMLParser({
  ...options,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
});
const layout = { ...options, suppressEmptyNode: true };
const builder = new XMLBuilder(layout);
const indenting = new XMLBuilder({ ...layout, format: true, indentBy: '  ' });

/** @throws `bad-input` saying where, when it is not well-formed XML or declares entities */
export function parseXml(xml: string): XmlNode[] {
  if (xml.length > maxLength) {
    throw new HyperscaleError('bad-input', `the XML has ${xml.length} characters`, {
      hint: `libvirt takes at most ${maxLength}.`,
    });
  }
  if (/<!DOCTYPE/i.test(xml)) {
    throw new HyperscaleError('bad-input', 'the XML has a document type declaration', {
      hint: 'libvirt writes none; pass what `virsh dumpxml` printed.',
    });
  }
  try {
    return parser.parse(xml, true) as XmlNode[];
  } catch (error) {
    throw new HyperscaleError('bad-input', `the XML is not well-formed: ${errorText(error)}`, {
      hint: 'Pass the whole of what `virsh dumpxml` printed.',
      cause: error,
    });
  }
}

/** The text of a tree, laid out as it was read. */
export function writeXml(nodes: XmlNode[]): string {
  return builder.build(nodes);
}

/** The text of a tree that was made here, one element a line. */
export function writeIndented(node: XmlNode): string {
  return indenting.build([node]).trim();
}

/** A new element. @throws `bad-input` when a value holds what XML cannot */
export function element(
  name: string,
  values: Record<string, string>,
  content: XmlNode[] | string = [],
): XmlNode {
  const children = typeof content === 'string' ? [{ [text]: encode(content) }] : content;
  const node: XmlNode = { [name]: children };
  for (const [key, value] of Object.entries(values)) setAttribute(node, key, value);
  return node;
}

/** The name of an element, or `#text`, `#comment`, `#cdata`. */
export function nameOf(node: XmlNode): string {
  return Object.keys(node).find((key) => key !== attributes) ?? text;
}

export function childrenOf(node: XmlNode): XmlNode[] {
  const content = node[nameOf(node)];
  return Array.isArray(content) ? content : [];
}

/** The elements of that name directly in `node`. */
export function childrenNamed(node: XmlNode, name: string): XmlNode[] {
  return childrenOf(node).filter((child) => nameOf(child) === name);
}

export function child(node: XmlNode, name: string): XmlNode | undefined {
  return childrenNamed(node, name)[0];
}

/** The value of an attribute, decoded. */
export function attribute(node: XmlNode | undefined, name: string): string | undefined {
  const value = node === undefined ? undefined : attributesOf(node)[name];
  return value === undefined ? undefined : decode(value);
}

/** The text directly in an element, decoded and without blanks around it. */
export function textOf(node: XmlNode | undefined): string | undefined {
  if (node === undefined) return undefined;
  const parts = childrenOf(node).map((part) => {
    if (typeof part[text] === 'string') return decode(part[text]);
    return nameOf(part) === '#cdata' ? String(childrenOf(part)[0]?.[text] ?? '') : '';
  });
  return parts.join('').trim();
}

/** @param value undefined takes the attribute away */
export function setAttribute(node: XmlNode, name: string, value: string | undefined): void {
  const values = { ...attributesOf(node) };
  if (value === undefined) delete values[name];
  else values[name] = encode(value);
  node[attributes] = values;
}

function attributesOf(node: XmlNode): Record<string, string> {
  const values = node[attributes];
  return typeof values === 'object' && !Array.isArray(values) ? values : {};
}

const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decode(written: string): string {
  return written.replaceAll(
    /&(?:#x([0-9a-f]+)|#([0-9]+)|([a-z]+));/gi,
    (all, hex, digits, name) => {
      if (name !== undefined) return named[name] ?? all;
      const code = hex === undefined ? Number(digits) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : all;
    },
  );
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML 1.0 cannot hold
const unwritable = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;

function encode(value: string): string {
  if (unwritable.test(value) || !value.isWellFormed()) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(value)} cannot be written in XML`, {
      hint: 'Take the control characters out of it.',
    });
  }
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
    .replaceAll(/[\t\n\r]/g, (blank) => `&#${blank.charCodeAt(0)};`);
}
