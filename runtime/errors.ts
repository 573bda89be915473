// Errors of the local runtime and of the commands that drive it.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Code -> row. */
export const RUNTIME_ERRORS = {
  COMMAND_FAILED: { source: 'internal', retry: 'no', message: 'a command failed' },
  NOT_ROOT: {
    source: 'internal',
    retry: 'no',
    message: 'weft needs root to make network namespaces and to load BPF programs',
    hint: 'run it with sudo',
  },
  BAD_NAME: { source: 'downstream', retry: 'no', message: 'the name of a mesh has 1 to 32 characters a-z, 0-9 and -' },
  MESH_RUNS: {
    source: 'downstream',
    retry: 'no',
    message: 'a mesh of this name is running',
    hint: 'end it with weft down, or choose another --name',
  },
  NAME_TAKEN: {
    source: 'internal',
    retry: 'no',
    message: 'a network namespace or link that the mesh would make is there already, and no mesh has recorded it',
    hint: 'remove it with ip netns del or ip link del, or choose another --name',
  },
  POD_MISSING: { source: 'downstream', retry: 'no', message: 'there is no such pod running', hint: 'see weft get pods' },
  MESH_MISSING: { source: 'downstream', retry: 'no', message: 'no mesh of this name is running', hint: 'start it with: weft up -f DIR' },
  CNI_FAILED: { source: 'upstream', retry: 'yes', message: 'the cni agent did not take the pod' },
  NO_ADDRESS_LEFT: { source: 'internal', retry: 'yes', message: 'every pod address of the node is in use' },
  CAPABILITY_REFUSED: { source: 'downstream', retry: 'no', message: 'a container asks for a capability that is never given' },
  CONFIG_MISSING: { source: 'downstream', retry: 'yes', message: 'a ConfigMap, a Secret or a key of one is missing' },
  BAD_CONTAINER: { source: 'downstream', retry: 'no', message: 'a container cannot be started as written' },
  NODE_UNREACHABLE: {
    source: 'upstream',
    retry: 'yes',
    message: 'a component does not answer',
    hint: 'see weft status and its log below /run/weft/NAME/logs',
  },
  CLEANUP_INCOMPLETE: { source: 'internal', retry: 'yes', message: 'not everything could be removed', hint: 'run weft down again' },
} as const satisfies Record<string, ErrorRow>

/** Builds an error of this table. */
export const runtimeFailure = failures(RUNTIME_ERRORS)
