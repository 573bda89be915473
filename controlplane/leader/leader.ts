// Who of the replicas writes: status, waypoints, the roots of namespaces. Everything else every replica does.

/** Whether this replica leads. */
export interface Leader {
  /** True only while nobody else can lead: by time, not by the last event. Ask before each write. */
  readonly isLeader: boolean
  /** Called on every change, in order; never before the first change to `true`. */
  onChange(tell: (isLeader: boolean) => void): void
}

/** The only replica there is: the local runtime has one. */
export const SOLE_LEADER: Leader = { isLeader: true, onChange: () => undefined }
