// What a client speaks is found out without losing a byte.
import assert from 'node:assert/strict'
import type { Channel, ChannelSink } from '../../../http/channel.ts'
import { httpFailure } from '../../../http/errors.ts'
import { sniff } from '../../../waypoint/sniff.ts'
import { FakeClock } from '../../support/fake-clock.ts'

interface Bench {
  readonly clock: FakeClock
  readonly verdicts: string[]
  readonly events: string[]
  readonly calls: string[]
  sink: ChannelSink
  attach(): void
}

/** @param isPatient whoever takes the verdict attaches later */
function bench(isPatient = false): Bench {
  const clock = new FakeClock()
  const state = { sink: undefined as ChannelSink | undefined, rest: undefined as Channel | undefined }
  const [verdicts, events, calls]: [string[], string[], string[]] = [[], [], []]
  const call = (name: string) => (): void => void calls.push(name)
  const channel: Channel = {
    attach: (sink) => {
      state.sink = sink
    },
    write: () => true,
    end: call('end'),
    reset: call('reset'),
    pause: call('pause'),
    resume: call('resume'),
  }
  const attach = (): void =>
    state.rest?.attach({
      onData: (chunk) => void events.push(chunk.toString()),
      onEnd: () => void events.push('end'),
      onWritable: () => void events.push('writable'),
      onClosed: (error) => void events.push(`closed ${error?.code ?? 'in order'}`),
    })
  sniff(
    channel,
    { clock, timeoutMs: 1000 },
    {
      decided(spoken, rest) {
        verdicts.push(spoken)
        state.rest = rest
        if (!isPatient) attach()
      },
      gone: () => void verdicts.push('gone'),
    },
  )
  return { clock, verdicts, events, calls, sink: state.sink ?? assert.fail('not attached'), attach }
}

describe('sniff', () => {
  for (const [name, chunks, verdict] of [
    ['a request', ['GET / HTTP/1.1\r\n'], 'http1'],
    ['a request in pieces', ['GE', 'T / HT', 'TP/1.1\r\nhost: a\r\n'], 'http1'],
    ['a preface', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], 'http2'],
    ['something else', ['\0\x01\x02'], 'tcp'],
  ] as const) {
    it(`${name} is ${verdict}, and all of it is delivered`, () => {
      const { sink, verdicts, events } = bench()
      for (const chunk of chunks) sink.onData(Buffer.from(chunk))
      assert.deepEqual([verdicts, events.join('')], [[verdict], chunks.join('')])
    })
  }

  it('silence is TCP', async () => {
    const { clock, verdicts } = bench()
    await clock.advance(1000)
    assert.deepEqual(verdicts, ['tcp'])
  })

  it('an end at once is TCP', () => {
    const { sink, verdicts, events, clock } = bench()
    sink.onEnd()
    assert.deepEqual([verdicts, events, clock.pending], [['tcp'], ['end'], 0])
  })

  it('a client that goes before a verdict is gone', () => {
    const { sink, verdicts, clock } = bench()
    sink.onData(Buffer.from('GE'))
    sink.onClosed(httpFailure('CLIENT_GONE'))
    assert.deepEqual([verdicts, clock.pending], [['gone'], 0])
  })

  it('whoever attaches late gets everything, and the client is held back until then', () => {
    const { sink, events, calls, attach } = bench(true)
    sink.onData(Buffer.from('\0a'))
    sink.onData(Buffer.from('b'))
    sink.onEnd()
    sink.onClosed(undefined)
    assert.deepEqual([events, calls], [[], ['pause']])
    attach()
    assert.deepEqual(
      [events, calls],
      [
        ['\0ab', 'end', 'closed in order'],
        ['pause', 'resume'],
      ],
    )
  })
})
