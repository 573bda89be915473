// Which kubeconfig and context an install command takes.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterOf } from '../../../../cli/install/cluster-flags.ts'

describe('which cluster is meant', () => {
  let home: string
  before(() => {
    home = mkdtempSync(join(tmpdir(), 'weft-home-'))
    mkdirSync(join(home, '.kube'))
    writeFileSync(join(home, '.kube/config'), '')
  })
  after(() => rmSync(home, { recursive: true }))

  const ROWS = [
    {
      name: 'the flag',
      flags: { kubeconfig: '/f', context: 'c' },
      env: () => ({ KUBECONFIG: '/e', HOME: home }),
      want: () => ({ kubeconfig: '/f', context: 'c' }),
    },
    {
      name: 'the first file that exists',
      flags: {},
      env: () => ({ KUBECONFIG: `/none:${home}/.kube/config` }),
      want: () => ({ kubeconfig: `${home}/.kube/config` }),
    },
    {
      name: 'a file that does not, so that it is named',
      flags: {},
      env: () => ({ KUBECONFIG: '/none', HOME: home }),
      want: () => ({ kubeconfig: '/none' }),
    },
    {
      name: 'the usual file',
      flags: { context: 'c' },
      env: () => ({ HOME: home }),
      want: () => ({ kubeconfig: `${home}/.kube/config`, context: 'c' }),
    },
    { name: "the pod's own account", flags: {}, env: () => ({ HOME: '/none' }), want: () => ({ kubeconfig: '' }) },
  ]
  for (const { name, flags, env, want } of ROWS) it(name, () => assert.deepEqual(clusterOf(flags, env()), want()))
})
