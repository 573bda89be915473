// What is read along on a connection: ends, resets and costs, however the bytes are cut.
import assert from 'node:assert/strict'
import { CLIENT_PREFACE, encodeFrame, Flag, FrameType } from '../../../hbone/frame.ts'
import { H2Abuse } from '../../../http/h2-abuse.ts'
import { FrameWatch } from '../../../http/h2-frames.ts'
import { IDLE_FRAME_BURST, REMEMBERED_STREAMS, RESET_MIN_STREAMS } from '../../../http/h2-limits.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { data, headers, ids, repeat, settings, word } from '../../support/raw-h2.ts'

const PING = encodeFrame(FrameType.ping, 0, 0, Buffer.alloc(8))

function watch(clock = new FakeClock()): { watch: FrameWatch; tooMuch: () => number } {
  let told = 0
  return { watch: new FrameWatch('client', new H2Abuse(clock), () => void told++), tooMuch: () => told }
}

describe('http/h2-frames', () => {
  const connection = Buffer.concat([
    CLIENT_PREFACE,
    settings(),
    headers(1, [[':method', 'GET']], Flag.endStream),
    headers(3, [[':method', 'POST']]),
    data(3, 100),
    headers(5, [[':method', 'POST']]),
    data(5, 0, Flag.endStream),
    word(FrameType.rstStream, 5, 0),
    headers(7, [[':method', 'POST']]),
    word(FrameType.rstStream, 7, 8),
  ])

  for (const size of [1, 2, 8, 9, 10, 33, 10_000]) {
    it(`tells ends from resets in pieces of ${size} bytes`, () => {
      const { watch: seen } = watch()
      for (let at = 0; at < connection.length; at += size) assert.equal(seen.received(connection.subarray(at, at + size)), true)
      const wants = { 1: ['headers', undefined], 3: [undefined, undefined], 5: ['data', 0], 7: [undefined, 8], 9: [undefined, undefined] }
      for (const [id, want] of Object.entries(wants)) {
        const { by, reset } = seen.endOf(Number(id))
        assert.deepEqual([by, reset], want, id)
      }
      seen.forget(5)
      assert.equal(seen.endOf(5).by, undefined)
      assert.equal(seen.endOf(undefined).by, undefined)
    })
  }

  it('remembers a bounded number of streams, the last ones', () => {
    const { watch: seen } = watch()
    seen.received(CLIENT_PREFACE)
    const all = ids(REMEMBERED_STREAMS + 100)
    for (const id of all) seen.received(headers(id, [], Flag.endStream))
    assert.equal(seen.endOf(all[99]).by, undefined)
    assert.equal(seen.endOf(all[100]).by, 'headers')
    assert.equal(seen.endOf(all.at(-1)).by, 'headers')
  })

  it('lets a burst of control frames pass, forgives by time and by messages, and tells a flood', async () => {
    const clock = new FakeClock()
    const { watch: seen, tooMuch } = watch(clock)
    seen.received(CLIENT_PREFACE)
    assert.equal(seen.received(repeat(PING, IDLE_FRAME_BURST)), true)
    await clock.advance(1000)
    assert.equal(seen.received(repeat(PING, 100)), true)
    for (let at = 0; at < 50; at++) seen.received(data(1, 10))
    assert.equal(seen.received(repeat(PING, 100)), true)
    assert.equal(tooMuch(), 0)
    assert.equal(seen.received(repeat(PING, 10)), false)
    assert.equal(tooMuch(), 1)
  })

  it('expects window updates for what was sent', () => {
    const { watch: seen } = watch()
    seen.received(CLIENT_PREFACE)
    seen.sent(10_000 * 1024)
    assert.equal(seen.received(repeat(word(FrameType.windowUpdate, 0, 1024), 10_000)), true)
    assert.equal(seen.received(repeat(word(FrameType.windowUpdate, 0, 1), IDLE_FRAME_BURST + 10)), false)
  })

  it('judges resets by their share of the streams, and only early ones', async () => {
    const clock = new FakeClock()
    const abuse = new H2Abuse(clock)
    const opened = Array.from({ length: RESET_MIN_STREAMS }, () => abuse.streamOpened())
    const verdicts = opened.slice(0, RESET_MIN_STREAMS / 2 + 1).map((at) => abuse.streamReset(at))
    assert.equal(verdicts.indexOf(true), RESET_MIN_STREAMS / 2)
    const late = new H2Abuse(clock)
    const old = Array.from({ length: 2 * RESET_MIN_STREAMS }, () => late.streamOpened())
    await clock.advance(1001)
    assert.equal(
      old.some((at) => late.streamReset(at)),
      false,
    )
  })
})
