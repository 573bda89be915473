// Errors of the command line itself: where it should talk to, and what a cluster lacks.
import { type ErrorRow, failures } from '../kit/error.ts'

/** Code -> row. */
export const CLI_ERRORS = {
  TARGET_UNCLEAR: {
    source: 'downstream',
    retry: 'no',
    message: 'a local mesh and a cluster are named at once',
    hint: 'use --name for a mesh of this machine, or --kubeconfig and --context for a cluster',
  },
  TARGET_MISSING: {
    source: 'downstream',
    retry: 'no',
    message: 'no mesh of this name is running on this machine, and there is no kubeconfig',
    hint: 'start one with weft up -f DIR, or name a cluster with --kubeconfig FILE',
  },
  POD_NOT_FOUND: { source: 'downstream', retry: 'no', message: 'there is no such pod', hint: 'see weft get pods' },
  NOT_INSTALLED: {
    source: 'downstream',
    retry: 'no',
    message: 'weft is not installed in this cluster',
    hint: 'install it with weft install; see weft check',
  },
  NODE_ALIVE: {
    source: 'downstream',
    retry: 'no',
    message: 'the node agent runs and would capture the pods again',
    hint: 'release through the API: weft release without --local; or end the agent first',
  },
  RELEASE_UNFINISHED: {
    source: 'internal',
    retry: 'yes',
    message: 'some pods could not be released',
    hint: 'repeat it; in a pod by hand: nft delete table inet weft-pod',
  },
} as const satisfies Record<string, ErrorRow>

/** Builds an error of this table. */
export const cliFailure = failures(CLI_ERRORS)
