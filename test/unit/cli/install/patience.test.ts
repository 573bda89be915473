// What fails for a moment is asked again, and told once; what fails for good is not.
import assert from 'node:assert/strict'
import { isPassing, patience } from '../../../../cli/install/patience.ts'
import { installFailure } from '../../../../cli/install/errors.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const SERVER = 'https://api.example:6443'
const system = (code: string): Error => Object.assign(new Error(`getaddrinfo ${code} api.example`), { code })
const unreachable = (code: string): Error => objectFailure('API_UNREACHABLE', { server: SERVER }, system(code))

describe('patience', () => {
  const rows = [
    { name: 'a name server that is away', error: unreachable('EAI_AGAIN'), want: true },
    { name: 'a server that restarts', error: unreachable('ECONNREFUSED'), want: true },
    { name: 'silence', error: objectFailure('API_UNREACHABLE', { server: SERVER, silentMs: 30_000 }), want: true },
    { name: 'an answer that broke off', error: objectFailure('API_UNREACHABLE', { reason: 'x' }, new Error('aborted')), want: true },
    { name: 'a server that is overtaxed', error: objectFailure('NOT_READY', { status: 429 }), want: true },
    { name: "helm's word", error: installFailure('CLUSTER_UNREACHABLE', { what: 'helm: x' }), want: true },
    { name: 'a name that does not exist', error: unreachable('ENOTFOUND'), want: false },
    { name: 'a certificate of somebody else', error: unreachable('ERR_TLS_CERT_ALTNAME_INVALID'), want: false },
    { name: 'a missing right', error: objectFailure('FORBIDDEN', { verb: 'get' }), want: false },
    { name: 'a fault of ours', error: new TypeError('x'), want: false },
  ]
  for (const { name, error, want } of rows) it(`${want ? 'bears' : 'does not bear'} ${name}`, () => assert.equal(isPassing(error), want))

  /** Answers after so many failures; `answersFirst`: the cluster has answered before. */
  async function run(failures: number, answersFirst: boolean): Promise<{ result: unknown; told: string[]; tookMs: number }> {
    const clock = new FakeClock()
    const told: string[] = []
    const patiently = patience({ clock, random: () => 0.5, tell: (line) => told.push(line) })
    if (answersFirst) await patiently(async () => 'before')
    const begunMs = clock.monotonicMs()
    let left = failures
    const result = patiently(async () => {
      if (left-- > 0) throw unreachable('EAI_AGAIN')
      return 'done'
    }).catch((error: unknown) => error)
    let isOver = false
    void result.finally(() => (isOver = true))
    while (!isOver) {
      await new Promise(setImmediate)
      clock.advance(100)
    }
    return { result: await result, told, tookMs: clock.monotonicMs() - begunMs }
  }

  it('asks again with growing pauses, and says so once', async () => {
    const { result, told, tookMs } = await run(5, true)
    assert.equal(result, 'done')
    assert.deepEqual(told, [`the API server ${SERVER} does not answer: getaddrinfo EAI_AGAIN api.example; asking again for up to 60 s`])
    assert.ok(tookMs > 6000 && tookMs < 8000, `${tookMs}`) // 200 + 400 + 800 + 1600 + 3200
  })

  for (const [answersFirst, seconds] of [
    [true, 60],
    [false, 5],
  ] as const)
    it(`gives up after ${seconds} s when the cluster has ${answersFirst ? '' : 'not '}answered before`, async () => {
      const { result } = await run(1000, answersFirst)
      assert.equal(codeOf(result), 'CLUSTER_UNREACHABLE')
      assert.match(
        sentenceOf(result),
        new RegExp(`getaddrinfo EAI_AGAIN api\\.example, for ${seconds} s; what was done stays done; repeat`),
      )
    })
})
