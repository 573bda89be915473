// Questions to nftables and to routing in a namespace, for tests.
import { execFileSync, spawnSync } from 'node:child_process'

/** Runs `nft ARGS` in a namespace given by its path. @throws Error with what it said */
export function nft(netnsPath: string, ...args: string[]): string {
  return execFileSync('nsenter', [`--net=${netnsPath}`, 'nft', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Everything that redirection by nftables leaves in a namespace: tables, rules and routes of ours; empty = nothing. */
export function redirectLeftovers(netnsPath: string): string[] {
  const ip = (...args: string[]): string => spawnSync('nsenter', [`--net=${netnsPath}`, 'ip', ...args], { encoding: 'utf8' }).stdout
  const tables = nft(netnsPath, 'list', 'tables').split('\n')
  const rules = [...ip('rule').split('\n'), ...ip('-6', 'rule').split('\n')].filter((line) => line.includes('fwmark'))
  const routes = [...ip('route', 'show', 'table', '100').split('\n'), ...ip('-6', 'route', 'show', 'table', '100').split('\n')]
  return [...tables, ...rules, ...routes].filter((line) => line !== '')
}
