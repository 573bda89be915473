// Errors of installing into a cluster, upgrading and removing again.
import { type ErrorRow, failures } from '../../kit/error.ts'

/** Code -> row. */
export const INSTALL_ERRORS = {
  HELM_MISSING: {
    source: 'downstream',
    retry: 'no',
    message: 'helm is not in PATH, and the chart is installed with it',
    hint: 'install Helm 3.14 or newer (https://helm.sh/docs/intro/install, one binary) and run the command again',
  },
  HELM_TOO_OLD: { source: 'downstream', retry: 'no', message: 'helm is too old', hint: 'install Helm 3.14 or newer' },
  HELM_FAILED: { source: 'downstream', retry: 'no', message: 'helm failed' },
  CLUSTER_UNREACHABLE: {
    source: 'upstream',
    retry: 'yes',
    message: 'the API server does not answer',
    hint: 'what was done stays done; repeat the command when it answers',
  },
  VALUES_INVALID: {
    source: 'downstream',
    retry: 'no',
    message: 'the values are refused by the chart',
    hint: 'all are described in docs/kubernetes.md; one of an earlier call is taken back with --set NAME=null',
  },
  RIGHTS_MISSING: {
    source: 'downstream',
    retry: 'no',
    message: 'rights are missing on the cluster',
    hint: 'use an account of cluster-admin; nothing was changed',
  },
  FOREIGN_MESH: {
    source: 'downstream',
    retry: 'no',
    message: 'another mesh is installed in the cluster',
    hint: 'remove it first, or move over node by node: docs/migrate.md says how; nothing was changed',
  },
  CLUSTER_UNFIT: { source: 'downstream', retry: 'no', message: 'the cluster lacks something that the mesh needs' },
  ALREADY_INSTALLED: { source: 'downstream', retry: 'no', message: 'weft is installed already', hint: 'to change it: weft upgrade' },
  INSTALL_UNFINISHED: {
    source: 'downstream',
    retry: 'no',
    message: 'an earlier install did not come to its end',
    hint: 'remove what it left, then install again: weft uninstall',
  },
  NOTHING_INSTALLED: {
    source: 'downstream',
    retry: 'no',
    message: 'weft is not installed in this cluster',
    hint: 'install it with: weft install',
  },
  NOT_READY_IN_TIME: {
    source: 'downstream',
    retry: 'yes',
    message: 'not everything is ready',
    hint: 'it goes on by itself; look with: weft status',
  },
  NODES_NOT_RELEASED: {
    source: 'internal',
    retry: 'yes',
    message: 'some nodes have not given their pods back yet',
    hint: 'does the agent run there? --force goes on without them; then run on each such node, as root: weft release --all --local',
  },
} as const satisfies Record<string, ErrorRow>

/** Builds an error of this table. */
export const installFailure = failures(INSTALL_ERRORS)
