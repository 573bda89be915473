// The port where everybody may read the agent's metrics shows nothing else of it.
import assert from 'node:assert/strict'
import { AgentMetrics } from '../../../cni/metrics.ts'
import { serveMetrics } from '../../../cni/server.ts'
import { createLog } from '../../../kit/log.ts'

const log = createLog({ process: 'test', levels: 'off' })

describe('serveMetrics', () => {
  it('shows the metrics alone, at the address alone', async () => {
    const { registry } = new AgentMetrics()
    const door = await serveMetrics({ ip: '127.0.0.1', port: 0, registry, log })
    try {
      const ask = async (path: string, method = 'GET'): Promise<readonly [number, string]> => {
        const answer = await fetch(`http://127.0.0.1:${door.port}${path}`, { method })
        return [answer.status, await answer.text()]
      }
      const [status, text] = await ask('/metrics')
      assert.equal(status, 200)
      assert.match(text, /^weft_zds_refused_total 0$/m)
      for (const path of ['/', '/config_dump', '/readyz', '/healthz/ready', '/cni']) assert.equal((await ask(path))[0], 404, path)
      assert.equal((await ask('/metrics', 'POST'))[0], 405)
      await assert.rejects(fetch(`http://127.0.0.2:${door.port}/metrics`))
    } finally {
      await door.close()
    }
  })

  it('says that an address is taken', async () => {
    const { registry } = new AgentMetrics()
    const door = await serveMetrics({ ip: '127.0.0.1', port: 0, registry, log })
    await assert.rejects(serveMetrics({ ip: '127.0.0.1', port: door.port, registry, log }), { code: 'EADDRINUSE' })
    await door.close()
  })
})
