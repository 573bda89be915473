// Objects of the Kubernetes Gateway API (gateway.networking.k8s.io/v1) as the mesh reads them: the fields it uses, no more.
// Made by objects/ after validation by objects/schema/gateway-api.ts; read by controlplane. Absent fields have the defaults of the CRDs.
import type { Condition, LabelSelector, MeshObject, StringMap } from './object.ts'

/** Name of this mesh in `controllerName` of classes and in the status of routes. */
export const GATEWAY_CONTROLLER = 'weft.dev/gateway-controller'
/** Group of all kinds here. */
export const GATEWAY_GROUP = 'gateway.networking.k8s.io'

/** What a route attaches to. Defaults: group GATEWAY_GROUP, kind Gateway, the route's namespace. */
export interface ParentReference {
  readonly group?: string
  readonly kind?: string
  readonly namespace?: string
  readonly name: string
  /** A listener of a Gateway; the name of a port of a Service. */
  readonly sectionName?: string
  readonly port?: number
}

/** Where requests go. Defaults: group "" (core), kind Service, the route's namespace. */
export interface BackendReference {
  readonly group?: string
  readonly kind?: string
  readonly namespace?: string
  readonly name: string
  readonly port?: number
}

/** `type` Exact (default) or RegularExpression. */
export interface HeaderMatch {
  readonly type?: string
  readonly name: string
  readonly value: string
}

/** `type` Exact, PathPrefix (default) or RegularExpression; value `/` by default. */
export interface HttpPathMatch {
  readonly type?: string
  readonly value?: string
}

/** One match of an HTTP rule; all parts must hold. */
export interface HttpRouteMatch {
  readonly path?: HttpPathMatch
  readonly headers?: readonly HeaderMatch[]
  readonly queryParams?: readonly HeaderMatch[]
  readonly method?: string
}

/** One match of a gRPC rule. */
export interface GrpcRouteMatch {
  readonly method?: { readonly type?: string; readonly service?: string; readonly method?: string }
  readonly headers?: readonly HeaderMatch[]
}

/** Edits of headers. */
export interface HeaderModifier {
  readonly set?: readonly { readonly name: string; readonly value: string }[]
  readonly add?: readonly { readonly name: string; readonly value: string }[]
  readonly remove?: readonly string[]
}

/** `type` ReplaceFullPath or ReplacePrefixMatch. */
export interface PathModifier {
  readonly type: string
  readonly replaceFullPath?: string
  readonly replacePrefixMatch?: string
}

/** A filter of a rule or backend; the field named after `type` holds its settings. */
export interface GatewayRouteFilter {
  readonly type: string
  readonly requestHeaderModifier?: HeaderModifier
  readonly responseHeaderModifier?: HeaderModifier
  readonly requestMirror?: {
    readonly backendRef: BackendReference
    readonly percent?: number
    readonly fraction?: { readonly numerator: number; readonly denominator?: number }
  }
  readonly requestRedirect?: {
    readonly scheme?: string
    readonly hostname?: string
    readonly path?: PathModifier
    readonly port?: number
    readonly statusCode?: number
  }
  readonly urlRewrite?: { readonly hostname?: string; readonly path?: PathModifier }
  readonly cors?: {
    readonly allowOrigins?: readonly string[]
    readonly allowCredentials?: boolean
    readonly allowMethods?: readonly string[]
    readonly allowHeaders?: readonly string[]
    readonly exposeHeaders?: readonly string[]
    readonly maxAge?: number
  }
  readonly extensionRef?: { readonly group: string; readonly kind: string; readonly name: string }
}

/** A backend with its share of the requests (default 1). */
export interface RouteBackend extends BackendReference {
  readonly weight?: number
  readonly filters?: readonly GatewayRouteFilter[]
}

/** GEP-1619. `sessionName` and `cookieConfig` are the fields' names before v1.7. */
export interface GatewaySessionPersistence {
  readonly type?: string
  readonly absoluteTimeout?: string
  readonly idleTimeout?: string
  readonly cookie?: { readonly name?: string; readonly path?: string; readonly lifetimeType?: string }
  readonly header?: { readonly name?: string }
  readonly sessionName?: string
  readonly cookieConfig?: { readonly lifetimeType?: string }
}

/** What rules of both kinds of routes have. */
export interface GatewayRouteRule<Match> {
  readonly name?: string
  readonly matches?: readonly Match[]
  readonly filters?: readonly GatewayRouteFilter[]
  readonly backendRefs?: readonly RouteBackend[]
  readonly sessionPersistence?: GatewaySessionPersistence
}

/** A rule of an HTTPRoute. Durations as of GEP-2257 (`1h30m`, `100ms`). */
export interface HttpRouteRule extends GatewayRouteRule<HttpRouteMatch> {
  readonly timeouts?: { readonly request?: string; readonly backendRequest?: string }
  readonly retry?: { readonly codes?: readonly number[]; readonly attempts?: number; readonly backoff?: string }
}

/** A rule of a GRPCRoute. */
export type GrpcRouteRule = GatewayRouteRule<GrpcRouteMatch>

interface RouteSpec<Rule> {
  readonly parentRefs?: readonly ParentReference[]
  readonly hostnames?: readonly string[]
  readonly rules?: readonly Rule[]
}

/** What one controller says of a route at one of its parents. */
export interface RouteParentStatus {
  readonly parentRef: ParentReference
  readonly controllerName: string
  readonly conditions: readonly Condition[]
}

/** Status of every kind of route; entries of other controllers stand beside ours. */
export interface RouteStatus {
  readonly parents?: readonly RouteParentStatus[]
}
/** Routes HTTP requests. */
export type HttpRoute = MeshObject<RouteSpec<HttpRouteRule>, RouteStatus>
/** Routes gRPC calls. */
export type GrpcRoute = MeshObject<RouteSpec<GrpcRouteRule>, RouteStatus>

/** A listener of a Gateway; waypoints have one of protocol HBONE. */
export interface GatewayListener {
  readonly name: string
  readonly port: number
  readonly protocol: string
  readonly hostname?: string
  readonly allowedRoutes?: {
    readonly namespaces?: { readonly from?: string; readonly selector?: LabelSelector }
    readonly kinds?: readonly RouteGroupKind[]
  }
}

/** A kind of routes; group GATEWAY_GROUP by default. */
export interface RouteGroupKind {
  readonly group?: string
  readonly kind: string
}

/** spec of a Gateway. */
export interface GatewaySpec {
  readonly gatewayClassName: string
  readonly listeners?: readonly GatewayListener[]
  /** For what is made for the Gateway. */
  readonly infrastructure?: {
    readonly labels?: StringMap
    readonly annotations?: StringMap
    readonly parametersRef?: unknown
  } | null
  readonly addresses?: readonly GatewayStatusAddress[]
}

/** An address; type IPAddress by default. */
export interface GatewayStatusAddress {
  readonly type?: string
  readonly value: string
}

/** Status of one listener. */
export interface GatewayListenerStatus {
  readonly name: string
  readonly supportedKinds: readonly RouteGroupKind[]
  /** Routes in force. */
  readonly attachedRoutes: number
  readonly conditions: readonly Condition[]
}

/** status of a Gateway. */
export interface GatewayStatus {
  readonly addresses?: readonly GatewayStatusAddress[]
  readonly conditions?: readonly Condition[]
  readonly listeners?: readonly GatewayListenerStatus[]
}
/** A waypoint, or another controller's gateway. */
export type Gateway = MeshObject<GatewaySpec, GatewayStatus>

/** Names the controller of Gateways. */
export type GatewayClass = MeshObject<
  { readonly controllerName: string; readonly description?: string },
  { readonly conditions?: readonly Condition[] }
>
