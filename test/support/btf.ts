// Types of a compiled BPF object, read by libbpf from its BTF: what the C side really looks like.
import koffi from 'koffi'
import { library } from '../../linux/ffi.ts'

const lib = library('libbpf.so.1')
const btf = {
  parse: lib.func('void *btf__parse(const char *path, void *ext)'),
  find: lib.func('int btf__find_by_name_kind(void *btf, const char *name, uint32_t kind)'),
  type: lib.func('void *btf__type_by_id(void *btf, uint32_t id)'),
  name: lib.func('const char *btf__name_by_offset(void *btf, uint32_t offset)'),
}
const KIND_STRUCT = 4

/** A struct's size and the byte offset of each field; undefined when the object has no such struct. */
export function structOf(object: string, name: string): { bytes: number; offsets: Record<string, number> } | undefined {
  const types = btf.parse(object, null)
  const id = btf.find(types, name, KIND_STRUCT)
  if (id < 0) return undefined
  const { words, count } = read(types, id)
  const offsets: Record<string, number> = {}
  for (let i = 0; i < count; i++) offsets[btf.name(types, words[3 + i * 3])] = ((words[5 + i * 3] ?? 0) & 0xffffff) / 8
  return { bytes: words[2] ?? 0, offsets }
}

/** struct btf_type { u32 name, info, size } and three words for each member. */
function read(types: unknown, id: number): { words: number[]; count: number } {
  const type = btf.type(types, id)
  const info = koffi.decode(type, 4, 'uint32_t') as number
  const count = info & 0xffff
  const words = koffi.decode(type, koffi.array('uint32_t', 3 + count * 3)) as ArrayLike<number>
  return { words: Array.from(words), count }
}
