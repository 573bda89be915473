// Tracing from the settings of a waypoint: off unless a collector is named, as the Gateway's service.
import assert from 'node:assert/strict'
import { Registry } from 'prom-client'
import { systemClock } from '../../../kit/clock.ts'
import { createLog } from '../../../kit/log.ts'
import { openTracing } from '../../../waypoint/tracing.ts'
import { OtlpReceiver } from '../../support/otlp-receiver.ts'
import { waypointSettings } from '../../support/waypoint-lab.ts'

const PARTS = { log: createLog({ process: 'test', levels: 'off' }), clock: systemClock, random: () => 0.5 }

describe('openTracing', () => {
  it('is nothing without a collector', async () => {
    assert.equal(await openTracing(waypointSettings(), { ...PARTS, metrics: new Registry() }), undefined)
  })

  for (const [traceSampling, want] of [
    ['50.1', 1],
    ['49.9', 0],
  ] as const) {
    it(`delivers ${want} of one at ${traceSampling} percent when half of all are drawn`, async () => {
      await using receiver = await OtlpReceiver.start()
      const settings = waypointSettings({ otlpEndpoint: receiver.endpoint, otlpProtocol: 'http', traceSampling })
      const metrics = new Registry()
      const tracing = await openTracing(settings, { ...PARTS, metrics })
      tracing?.begin('r', []).end()
      await tracing?.stop(5000)
      assert.equal(receiver.spans.length, want)
      if (want === 1) assert.equal(receiver.spans[0]?.resource['service.name'], 'waypoint.shop')
      assert.match(await metrics.metrics(), new RegExp(`^weft_spans_exported_total ${want}$`, 'm'))
    })
  }
})
