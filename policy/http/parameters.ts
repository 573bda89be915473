// Parameters of path segments (`/a;x=y/b`; RFC 3986 3.3). Servlet containers and others drop them before they decide what is asked for,
// most servers take them as a part of the name: a path may mean one thing to the mesh and another to who serves it.
import type { RequestHead } from '../../model/http.ts'
import type { Route } from '../../model/route.ts'

/** An escaped semicolon is one to servers that decode first. */
const PARAMETERS = /(?:;|%3B)[^/]*/g

/** The path as servers see it that drop parameters; undefined = it has none. @param path normalised */
export function bareOf(path: string): string | undefined {
  return path.includes(';') || path.includes('%3B') ? path.replaceAll(PARAMETERS, '') : undefined
}

/** The request as servers see it that drop parameters; undefined = its path has none. @param head its path is normalised */
export function withoutParameters(head: RequestHead): RequestHead | undefined {
  const path = bareOf(head.path)
  return path === undefined ? undefined : { ...head, path }
}

/** Whether who wrote the route has spelled the parameters out: then they are meant. */
export function spellsParameters({ match: { path } }: Route): boolean {
  return path?.kind === 'exact' && path.value.includes(';')
}
