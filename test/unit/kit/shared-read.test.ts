// Reading TLS without an allocation per record.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { isReadingShared, readShared } from '../../../kit/shared-read.ts'
import { tlsPair } from '../../support/tls-pair.ts'

describe('kit/shared-read', () => {
  it('reads into the shared buffer on this interpreter', () => {
    assert.equal(isReadingShared(), true)
  })

  it('gives what came before the reader first, then the rest, in order', async () => {
    const { client, server, close } = await tlsPair()
    client.write('one ')
    await once(server, 'readable') // it waits in the stream's own buffer now
    const parts: string[] = []
    const buffers = new Set<ArrayBufferLike>()
    readShared(server, (bytes) => {
      parts.push(bytes.toString())
      buffers.add(bytes.buffer)
    })
    for (const word of ['two ', 'three ', 'four']) {
      const seen = parts.length
      client.write(word)
      while (parts.length === seen) await new Promise((resolve) => setImmediate(resolve))
    }
    client.end()
    await once(server, 'end')
    assert.equal(parts.join(''), 'one two three four')
    assert.ok(buffers.size <= 2, `${buffers.size} buffers: the early one and the shared one are expected`)
    close()
  })
})
