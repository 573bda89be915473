// Loads what @peculiar/x509 needs before it is loaded itself: its dependency container wants Reflect metadata, and it signs
// through the platform's WebCrypto. Files that use the library import this one first.
import 'reflect-metadata'
