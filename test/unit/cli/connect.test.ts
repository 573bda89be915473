// Where a command talks to: the rule, what it says when it is unclear, and the words that lead there again.
import assert from 'node:assert/strict'
import { chooseTarget, type Surroundings, type TargetFlags, targetWords } from '../../../cli/connect.ts'

const NOTHING: Surroundings = { hasLocalMesh: false, kubeconfigs: [], isInCluster: false }
const BOTH: Surroundings = { hasLocalMesh: true, kubeconfigs: ['/home/me/.kube/config'], isInCluster: false }
/** A pod whose $KUBECONFIG names a file that is not there. */
const LOST: Surroundings = { ...NOTHING, missing: '/lost', isInCluster: true }
const CLUSTER: Surroundings = { ...BOTH, hasLocalMesh: false }

describe('chooseTarget', () => {
  const local = (name: string) => ({ kind: 'local', name }) as const
  const cluster = (kubeconfig: string, context?: string) => ({ kind: 'cluster', kubeconfig, context }) as const
  const rows: { name: string; flags: TargetFlags; around: Surroundings; given: unknown; isGuess?: boolean }[] = [
    { name: '--name', flags: { name: 'a' }, around: BOTH, given: local('a') },
    { name: '--kubeconfig', flags: { kubeconfig: '/k' }, around: BOTH, given: cluster('/k') },
    { name: '--context', flags: { context: 'c' }, around: BOTH, given: cluster('/home/me/.kube/config', 'c') },
    { name: 'both flags', flags: { kubeconfig: '/k', context: 'c' }, around: NOTHING, given: cluster('/k', 'c') },
    { name: 'a mesh that runs here', flags: {}, around: { ...NOTHING, hasLocalMesh: true }, given: local('weft') },
    { name: 'a mesh before a kubeconfig, and says so', flags: {}, around: BOTH, given: local('weft'), isGuess: true },
    { name: 'the kubeconfig', flags: {}, around: CLUSTER, given: cluster('/home/me/.kube/config') },
    { name: 'the account of the pod', flags: {}, around: { ...NOTHING, isInCluster: true }, given: cluster('') },
    {
      name: 'a kubeconfig before the account',
      flags: {},
      around: { ...CLUSTER, isInCluster: true },
      given: cluster('/home/me/.kube/config'),
    },
  ]
  for (const { name, flags, around, given, isGuess = false } of rows)
    it(`takes ${name}`, () => assert.deepEqual(chooseTarget(flags, around), { target: given, isGuess }))

  const refused: { name: string; flags: TargetFlags; around?: Surroundings; code: string }[] = [
    { name: 'two at once', flags: { name: 'a', context: 'c' }, code: 'TARGET_UNCLEAR' },
    { name: 'nothing at all', flags: {}, code: 'TARGET_MISSING' },
    { name: 'a file of $KUBECONFIG that is not there', flags: {}, around: LOST, code: 'TARGET_MISSING' },
    { name: 'the same with a context', flags: { context: 'c' }, around: LOST, code: 'TARGET_MISSING' },
    { name: 'a context without a kubeconfig', flags: { context: 'c' }, code: 'TARGET_MISSING' },
  ]
  for (const { name, flags, around = NOTHING, code } of refused)
    it(`refuses ${name}`, () => {
      const says = around === LOST ? /\/lost/ : /./
      assert.throws(
        () => chooseTarget(flags, around),
        (error: Error & { code: string }) => error.code === code && says.test(error.message),
      )
    })
  it('takes a local mesh though a file of $KUBECONFIG is not there', () => {
    assert.deepEqual(chooseTarget({}, { ...LOST, hasLocalMesh: true }).target, local('weft'))
  })

  it('is led to again by words', () => {
    assert.equal(targetWords(local('weft')), '')
    assert.equal(targetWords(local('b')), ' --name b')
    assert.equal(targetWords(cluster('/k', 'c')), ' --kubeconfig /k --context c')
    assert.equal(targetWords(cluster('')), '')
  })
})
