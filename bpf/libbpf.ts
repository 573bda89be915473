// The functions of libbpf.so.1 (1.1 and later) that bpf/ uses, declared once. libbpf's own printing is turned off.
import { lastErrno, library } from '../linux/ffi.ts'

/** An opaque C pointer; null = failure. */
export type Pointer = object | bigint

/** libbpf 1.x: pointers are null and numbers negative on failure, errno is set. */
export interface Libbpf {
  open(path: string): Pointer | null
  load(object: Pointer): number
  close(object: Pointer): void
  nextProgram(object: Pointer, previous: Pointer | null): Pointer | null
  programName(program: Pointer): string
  programFd(program: Pointer): number
  setLogBuffer(program: Pointer, buffer: Buffer, bytes: number): number
  nextMap(object: Pointer, previous: Pointer | null): Pointer | null
  mapName(map: Pointer): string
  mapIsInternal(map: Pointer): boolean
  setPinPath(map: Pointer, path: string): number
  setInitial(map: Pointer, value: Buffer, bytes: number): number
  createLink(program: number, target: number, type: number, options: null): number
  updateLink(link: number, program: number, options: null): number
  detachLink(link: number): number
  pin(fd: number, path: string): number
  get(path: string): number
  info(fd: number, info: Buffer, length: number[]): number
  update(map: number, key: Buffer, value: Buffer, flags: number): number
  lookup(map: number, key: Buffer, value: Buffer): number
  remove(map: number, key: Buffer): number
  nextKey(map: number, key: Buffer | null, next: Buffer): number
  lookupBatch(map: number, from: Buffer | null, to: Buffer, keys: Buffer, values: Buffer, count: number[], options: null): number
  /** Ids of the programs that a cgroup has at one hook; `count` holds the room, then the number. */
  queryPrograms(cgroup: number, attach: number, flags: number, attachFlags: number[], ids: Buffer, count: number[]): number
  programById(id: number): number
  cpus(): number
  probeHelper(programType: number, helper: number, options: null): number
  probeProgramType(programType: number, options: null): number
  tcHookCreate(hook: Buffer): number
  tcHookDestroy(hook: Buffer): number
  tcAttach(hook: Buffer, options: Buffer): number
  tcDetach(hook: Buffer, options: Buffer): number
  tcQuery(hook: Buffer, options: Buffer): number
}

let loaded: Libbpf | undefined

/** @throws MeshError LIBRARY_MISSING */
export function libbpf(): Libbpf {
  if (loaded !== undefined) return loaded
  const lib = library('libbpf.so.1')
  lib.func('void *libbpf_set_print(void *printer)')(null) // failures become errors with the verifier's last lines
  loaded = {
    open: lib.func('void *bpf_object__open(const char *path)'),
    load: lib.func('int bpf_object__load(void *object)'),
    close: lib.func('void bpf_object__close(void *object)'),
    nextProgram: lib.func('void *bpf_object__next_program(void *object, void *previous)'),
    programName: lib.func('const char *bpf_program__name(void *program)'),
    programFd: lib.func('int bpf_program__fd(void *program)'),
    setLogBuffer: lib.func('int bpf_program__set_log_buf(void *program, void *buffer, size_t bytes)'),
    nextMap: lib.func('void *bpf_object__next_map(void *object, void *previous)'),
    mapName: lib.func('const char *bpf_map__name(void *map)'),
    mapIsInternal: lib.func('bool bpf_map__is_internal(void *map)'),
    setPinPath: lib.func('int bpf_map__set_pin_path(void *map, const char *path)'),
    setInitial: lib.func('int bpf_map__set_initial_value(void *map, const void *value, size_t bytes)'),
    createLink: lib.func('int bpf_link_create(int program, int target, int type, void *options)'),
    updateLink: lib.func('int bpf_link_update(int link, int program, void *options)'),
    detachLink: lib.func('int bpf_link_detach(int link)'),
    pin: lib.func('int bpf_obj_pin(int fd, const char *path)'),
    get: lib.func('int bpf_obj_get(const char *path)'),
    info: lib.func('int bpf_obj_get_info_by_fd(int fd, _Inout_ void *info, _Inout_ uint32_t *length)'),
    update: lib.func('int bpf_map_update_elem(int map, const void *key, const void *value, uint64_t flags)'),
    lookup: lib.func('int bpf_map_lookup_elem(int map, const void *key, _Out_ void *value)'),
    remove: lib.func('int bpf_map_delete_elem(int map, const void *key)'),
    nextKey: lib.func('int bpf_map_get_next_key(int map, const void *key, _Out_ void *next)'),
    lookupBatch: lib.func(
      'int bpf_map_lookup_batch(int map, void *from, _Out_ void *to, _Out_ void *keys, _Out_ void *values, _Inout_ uint32_t *count, void *options)',
    ),
    queryPrograms: lib.func(
      'int bpf_prog_query(int target, int type, uint32_t flags, _Inout_ uint32_t *attached, _Out_ void *ids, _Inout_ uint32_t *count)',
    ),
    programById: lib.func('int bpf_prog_get_fd_by_id(uint32_t id)'),
    cpus: lib.func('int libbpf_num_possible_cpus()'),
    probeHelper: lib.func('int libbpf_probe_bpf_helper(int type, int helper, void *options)'),
    probeProgramType: lib.func('int libbpf_probe_bpf_prog_type(int type, const void *options)'),
    tcHookCreate: lib.func('int bpf_tc_hook_create(void *hook)'),
    tcHookDestroy: lib.func('int bpf_tc_hook_destroy(void *hook)'),
    tcAttach: lib.func('int bpf_tc_attach(void *hook, _Inout_ void *options)'),
    tcDetach: lib.func('int bpf_tc_detach(void *hook, void *options)'),
    tcQuery: lib.func('int bpf_tc_query(void *hook, _Inout_ void *options)'),
  }
  return loaded
}

/** errno of the last call, as the Errno constants name it. */
export function bpfErrno(): number {
  return lastErrno()
}

/** The errno values that bpf/ tells apart. */
export const Errno = { ENOENT: 2, E2BIG: 7, EBUSY: 16, EEXIST: 17, ENODEV: 19, EINVAL: 22, ENOSPC: 28 } as const
