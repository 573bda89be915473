// A waypoint at work, on a whole mesh: clients call Services, the requests pass the waypoint, and what its routes and policies say
// happens to them.
import assert from 'node:assert/strict'
import type { Echo } from '../support/waypoint-app.ts'
import { appService, SPACE, WaypointStage } from '../support/waypoint-stage.ts'

const idOf = (account: string, namespace = SPACE): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`

describe('a waypoint', function () {
  this.timeout('60s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open([appService('plain')])
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  it('stands between client and server, and knows the client', async () => {
    const waypoint = await stage.waypoint()
    const answer = await stage.get(stage.client, 'plain', '/first')
    assert.equal(answer.status, 200, JSON.stringify(answer))
    const seen = JSON.parse(answer.body) as Echo
    assert.ok([waypoint.ip, waypoint.ip6].includes(seen.from), `the server saw ${seen.from}`)
    const line = await stage.line((each) => each.path === '/first')
    assert.deepEqual(
      [line['src.identity'], line.response_code, line['dst.service']],
      [idOf('client'), 200, `plain.${SPACE}.svc.cluster.local`],
    )
  })
})
