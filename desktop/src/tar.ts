// A tar of the files that a person has chosen, for the engine to unpack.

const encoder = new TextEncoder();

function header(name: Uint8Array, size: number, kind: string, time: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(512);
  const text = (at: number, value: string) => block.set(encoder.encode(value), at);
  block.set(name.subarray(0, 100), 0);
  text(100, '0000644\0');
  text(108, '0000000\0');
  text(116, '0000000\0');
  // Sizes from 8 GiB on are binary.
  if (size < 8 ** 11) text(124, `${size.toString(8).padStart(11, '0')}\0`);
  else {
    block[124] = 0x80;
    new DataView(block.buffer).setBigUint64(128, BigInt(size));
  }
  text(136, `${Math.floor(time / 1000).toString(8).padStart(11, '0')}\0`);
  text(148, '        ');
  text(156, kind);
  text(257, 'ustar  \0');
  const sum = block.reduce((all, byte) => all + byte, 0);
  text(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

function padded(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((512 - (size % 512)) % 512);
}

/** The files without being read into memory: the browser reads them while it sends. */
export async function pack(files: File[]): Promise<Blob> {
  const parts: BlobPart[] = [];
  for (const file of files) {
    const name = encoder.encode(file.name);
    if (name.length > 100) {
      const long = new Uint8Array(name.length + 1);
      long.set(name);
      parts.push(header(encoder.encode('././@LongLink'), long.length, 'L', 0), long, padded(long.length));
    }
    parts.push(header(name, file.size, '0', file.lastModified), file, padded(file.size));
  }
  parts.push(new Uint8Array(1024));
  return new Blob(parts);
}
