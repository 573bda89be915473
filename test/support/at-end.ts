// Work that is done once, after all tests of the process: what several files share is removed then. Root hooks run it, before they look
// for what was left behind.

const works: (() => Promise<void>)[] = []

/** Registers work. */
export function atEnd(work: () => Promise<void>): void {
  works.push(work)
}

/** Does it, the last one first. @throws what the work throws */
export async function runAtEnd(): Promise<void> {
  for (let work = works.pop(); work !== undefined; work = works.pop()) await work()
}
