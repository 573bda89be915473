// Pieces of responses on their way into an HTTP/2 stream.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { PiecePool } from '../../../xds/encode-push.ts'
import { MessageWriter } from '../../../xds/message-writer.ts'

/** The HTTP/2 stream below a call, as grpc-js holds it: takes a piece when it is told to. */
class FakeStream {
  readonly written: string[] = []
  readonly #taken: ((error?: Error) => void)[] = []
  destroyed = false
  closed = false
  readonly respond = (): undefined => undefined
  readonly once = (): undefined => undefined
  /** Says that there is room, as a stream does up to its high-water mark. */
  write(piece: Buffer, taken: (error?: Error) => void): boolean {
    this.written.push(piece.toString())
    this.#taken.push(taken)
    return true
  }
  take(error?: Error): void {
    this.#taken.shift()?.(error)
  }
}

function writerOn(stream: FakeStream): MessageWriter {
  const call = { call: { stream }, sendMetadata: () => undefined }
  return new MessageWriter(call as unknown as ServerDuplexStream<Buffer, Buffer>, new PiecePool())
}

function* pieces(...texts: string[]): Generator<Buffer, undefined> {
  for (const text of texts) yield Buffer.from(text)
}

describe('the writer of messages', () => {
  it('hands over one piece at a time, however much room the stream says it has', () => {
    const stream = new FakeStream()
    const writer = writerOn(stream)
    const done: string[] = []
    writer.write(pieces('a1', 'a2'), () => done.push('a'))
    writer.write(pieces('b1'), () => done.push('b'))
    const seen: string[] = []
    for (let i = 0; i < 4; i++) {
      seen.push(`${stream.written.join(' ')} / ${done.join(' ')}`)
      stream.take()
    }
    assert.deepEqual(seen, ['a1 / ', 'a1 a2 / ', 'a1 a2 b1 / a', 'a1 a2 b1 / a b'])
  })

  it('takes a message that is written when the one before is done', () => {
    const stream = new FakeStream()
    const writer = writerOn(stream)
    writer.write(pieces('a'), () => writer.write(pieces('b'), () => undefined))
    stream.take()
    assert.deepEqual(stream.written, ['a', 'b'])
  })

  it('stops when a piece could not be written', () => {
    const stream = new FakeStream()
    const writer = writerOn(stream)
    let isDone = false
    writer.write(pieces('a1', 'a2'), () => (isDone = true))
    stream.take(new Error('reset'))
    assert.deepEqual([stream.written, isDone], [['a1'], false])
  })
})
