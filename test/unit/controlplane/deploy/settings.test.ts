// The control plane's settings about waypoint pods: what is refused, in which words, and what becomes of the rest.
import assert from 'node:assert/strict'
import { deploySettingsOf, WAYPOINT_ROWS, waypointSettingFaults } from '../../../../controlplane/deploy/settings.ts'
import { parseSettings } from '../../../../kit/settings.ts'

function read(...args: string[]) {
  const parsed = parseSettings(WAYPOINT_ROWS, args, {})
  assert.ok(parsed.ok)
  return parsed.value
}

describe('settings of waypoint pods', () => {
  const rows: { args: string[]; says: RegExp }[] = [
    { args: ['--waypoint-pull-policy', 'Sometimes'], says: /none of Always, IfNotPresent, Never/ },
    { args: ['--waypoint-pull-secrets', 'good,No Name'], says: /"No Name" is not the name of a Secret/ },
    { args: ['--waypoint-priority-class', 'A_B'], says: /is not a name/ },
    { args: ['--waypoint-resources', 'lots'], says: /JSON such as/ },
    { args: ['--waypoint-resources', '{"asks":{}}'], says: /JSON such as/ },
    { args: ['--waypoint-resources', '{"limits":{"cpu":"much"}}'], says: /JSON such as/ },
    { args: ['--waypoint-resources', '[]'], says: /JSON such as/ },
  ]
  for (const { args, says } of rows)
    it(`refuses ${args.join(' ')}`, () => {
      const faults = waypointSettingFaults(read(...args))
      assert.equal(faults.length, 1)
      assert.match(faults[0] ?? '', says)
      assert.ok(faults[0]?.startsWith(args[0] ?? ''))
    })

  it('become what a pod is made of', () => {
    const names = { clusterDomain: 'cluster.local', trustDomain: 'td', clusterId: 'one', network: '' }
    const given = read('--waypoint-command', 'node  waypoint/main.js', '--waypoint-pull-secrets', 'a, b', '--waypoint-resources', '{}')
    assert.deepEqual(waypointSettingFaults(given), [])
    const { command, pullSecrets, resources, pullPolicy, trustDomain } = deploySettingsOf({ ...given, ...names }, undefined)
    assert.deepEqual(
      { command, pullSecrets, resources, pullPolicy, trustDomain },
      { command: ['node', 'waypoint/main.js'], pullSecrets: ['a', 'b'], resources: undefined, pullPolicy: undefined, trustDomain: 'td' },
    )
    assert.equal(deploySettingsOf({ ...read(), ...names }, undefined).resources?.limits?.memory, '1Gi')
  })
})
