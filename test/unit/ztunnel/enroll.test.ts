// Announced pods: idempotent, replaced, kept, dropped after a snapshot, retried. Follows the in-pod tests of ztunnel.
import assert from 'node:assert/strict'
import { systemClock } from '../../../kit/clock.ts'
import { createLog } from '../../../kit/log.ts'
import type { Netns } from '../../../linux/netns.ts'
import { Enroller } from '../../../ztunnel/enroll.ts'

const INFO = { name: 'client', namespace: 'shop', serviceAccount: 'client' }

function setUp(): {
  enroller: Enroller
  calls: string[]
  netns(fd: number, inode: bigint): Netns
  open: Set<number>
  fail(isFailing: boolean): void
} {
  const calls: string[] = []
  const open = new Set<number>()
  let isFailing = false
  const enroller = new Enroller({
    server: {
      addPod: async ({ uid, netnsFd }) => {
        calls.push(`add ${uid} ${netnsFd}`)
        if (isFailing) throw new Error('port in use')
      },
      removePod: async (uid) => void calls.push(`remove ${uid}`),
    },
    log: createLog({ process: 'test', levels: 'off' }),
    clock: systemClock,
    retryMs: 5,
  })
  enroller.connection(true)
  const netns = (fd: number, inode: bigint): Netns => {
    open.add(fd)
    return { fd, inode, [Symbol.dispose]: () => void open.delete(fd) }
  }
  const fail = (value: boolean): void => {
    isFailing = value
  }
  return { enroller, calls, netns, open, fail }
}

describe('Enroller', () => {
  it('is ready after the snapshot', async () => {
    const { enroller, netns } = setUp()
    assert.deepEqual(enroller.waitingFor(), ['snapshot of pods'])
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(3, 1n) })
    await enroller.request({ kind: 'snapshot-sent' })
    assert.deepEqual(enroller.waitingFor(), [])
    assert.deepEqual(enroller.list(), [{ uid: 'a', info: INFO, state: 'Up' }])
    enroller.connection(false)
    assert.deepEqual(enroller.waitingFor(), ['connection to the agent'])
  })

  it('takes a repeated add of the same namespace and closes the second descriptor', async () => {
    const { enroller, netns, open, calls } = setUp()
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(3, 1n) })
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(4, 1n) })
    assert.deepEqual([...open], [3])
    assert.deepEqual(calls, ['add a 3', 'add a 3'])
  })

  it('replaces a pod whose namespace changed', async () => {
    const { enroller, netns, open, calls } = setUp()
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(3, 1n) })
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(4, 2n) })
    assert.deepEqual([...open], [4])
    assert.deepEqual(calls, ['add a 3', 'remove a', 'add a 4'])
  })

  it('drops what a new snapshot does not name', async () => {
    const { enroller, netns, open, calls } = setUp()
    await enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(3, 1n) })
    await enroller.request({ kind: 'add', uid: 'b', info: INFO, netns: netns(4, 2n) })
    enroller.connection(false)
    enroller.connection(true)
    await enroller.request({ kind: 'keep', uid: 'b' })
    await enroller.request({ kind: 'snapshot-sent' })
    assert.deepEqual([...open], [4])
    assert.ok(calls.includes('remove a'))
    await assert.rejects(enroller.request({ kind: 'keep', uid: 'never' }))
  })

  it('keeps a pod that could not be served as pending and tries again', async () => {
    const { enroller, netns, fail } = setUp()
    fail(true)
    await assert.rejects(enroller.request({ kind: 'add', uid: 'a', info: INFO, netns: netns(3, 1n) }), /port in use/)
    await enroller.request({ kind: 'snapshot-sent' })
    assert.deepEqual(enroller.waitingFor(), ['pod shop/client'])
    fail(false)
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.deepEqual(enroller.waitingFor(), [])
  })

  it('refuses a pod without a name and closes its descriptor', async () => {
    const { enroller, netns, open } = setUp()
    await assert.rejects(enroller.request({ kind: 'add', uid: 'a', netns: netns(3, 1n) }))
    assert.equal(open.size, 0)
  })

  it('takes a removal of what it does not know', async () => {
    const { enroller } = setUp()
    await enroller.request({ kind: 'del', uid: 'nobody' })
  })
})
