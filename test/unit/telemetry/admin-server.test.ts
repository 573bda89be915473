// The long answer of a proxy's metrics port: made as it is read, a piece per turn of the event loop.
import assert from 'node:assert/strict'
import http from 'node:http'
import { AdminServers } from '../../../telemetry/admin-server.ts'
import { silentLog } from '../../support/netns-lab.ts'

const PIECE = `${'x'.repeat(16 * 1024 - 1)}\n`
const PIECES = 2000

describe('AdminServers', () => {
  let made = 0
  let servers: AdminServers

  function* text(): Generator<string, void, void> {
    for (made = 0; made < PIECES; made++) yield PIECE
  }

  beforeEach(async () => {
    servers = await AdminServers.start({
      process: 'test',
      adminPort: 0,
      statsPort: 0,
      readyPort: 0,
      isIpv6Enabled: false,
      monitoringIp: '127.0.0.1',
      log: silentLog,
      actions: {
        configDump: () => Promise.resolve({}),
        metrics: () => Promise.resolve(text()),
        waitingFor: () => [],
        logLevels: () => '',
        setLogLevels: () => undefined,
        quit: () => undefined,
      },
    })
  })
  afterEach(() => servers.close())

  async function scrape(): Promise<http.IncomingMessage> {
    const request = http.get({ host: '127.0.0.1', port: servers.ports()[1] ?? 0, path: '/metrics', agent: false })
    return new Promise((resolve, reject) => request.once('response', resolve).once('error', reject))
  }

  it('lets others run between the pieces of a scrape', async () => {
    const response = await scrape()
    let most = 0
    let before = 0
    let isOver = false
    const look = (): void => {
      most = Math.max(most, made - before)
      before = made
      if (!isOver) setImmediate(look)
    }
    look()
    let bytes = 0
    for await (const chunk of response) bytes += (chunk as Buffer).length
    isOver = true
    assert.equal(bytes, PIECES * PIECE.length)
    assert.ok(most <= 16, `${most} pieces in one turn`)
  })

  it('makes no more than is read', async () => {
    const response = await scrape()
    response.pause()
    let before = -1
    while (made !== before) {
      before = made
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.ok(made < PIECES, 'the whole text is in memory')
    response.destroy()
  })
})
