// Marks of releases on a Kubernetes node: one file, written whole or not at all. While a mark stands, the agent enrols no pod that
// it is about; who restarts the agent does not take the release back.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A release in force: the whole node, or a namespace on it. `at`: RFC 3339. */
export type NodeMark = { readonly node: true; readonly at: string } | { readonly namespace: string; readonly at: string }

const FILE = 'released.json'

/** Marks in force. @throws SyntaxError when somebody else wrote the file */
export function readMarks(nodeDir: string): NodeMark[] {
  const file = join(nodeDir, FILE)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as NodeMark[]) : []
}

/** Sets the mark of the node (namespace undefined) or of a namespace. */
export function setMark(nodeDir: string, namespace: string | undefined, at: string): void {
  const mark: NodeMark = namespace === undefined ? { node: true, at } : { namespace, at }
  writeMarks(nodeDir, [...readMarks(nodeDir).filter((one) => !isAbout(one, namespace)), mark])
}

/** Takes marks back. @returns whether there was one */
export function removeMark(nodeDir: string, namespace: string | undefined): boolean {
  const before = readMarks(nodeDir)
  const after = before.filter((one) => !isAbout(one, namespace))
  if (after.length !== before.length) writeMarks(nodeDir, after)
  return after.length !== before.length
}

function isAbout(mark: NodeMark, namespace: string | undefined): boolean {
  return namespace === undefined ? 'node' in mark : 'namespace' in mark && mark.namespace === namespace
}

function writeMarks(nodeDir: string, marks: readonly NodeMark[]): void {
  mkdirSync(nodeDir, { recursive: true, mode: 0o755 })
  const file = join(nodeDir, FILE)
  writeFileSync(`${file}.new`, `${JSON.stringify(marks)}\n`, { mode: 0o644 })
  renameSync(`${file}.new`, file)
}
