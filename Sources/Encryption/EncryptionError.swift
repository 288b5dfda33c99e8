package import Diagnostics

/// Why a connection cannot be encrypted.
package enum EncryptionError: UserFacingError, Equatable {
    /// A file of certificates or a key that cannot be used; `purpose` says as what.
    case unusable(path: String, purpose: String, reason: String)
    /// The key is that of another certificate.
    case mismatch(certificate: String, key: String)
    /// What the peer showed as its certificate, or that it showed none.
    case untrusted(reason: String)
    /// The peer does not take what we showed as ours, or wants one.
    case refused(reason: String)
    /// What came is not TLS 1.3 as we speak it.
    case broken(reason: String)
    case `internal`(reason: String)

    package var summary: String {
        switch self {
        case .unusable(let path, let purpose, let reason): "\(path) cannot be used as \(purpose): \(reason)"
        case .mismatch(let certificate, let key): "the key \(key) does not belong to the certificate \(certificate)"
        case .untrusted(let reason): "the certificate of the other side is not trusted: \(reason)"
        case .refused(let reason): "the other side does not take our certificate: \(reason)"
        case .broken(let reason): "no TLS 1.3 came about: \(reason)"
        case .internal(let reason): "TLS failed: \(reason)"
        }
    }

    package var remedy: String? {
        switch self {
        case .unusable: "give a PEM file that this user may read"
        case .mismatch: "give the pair that was made together"
        case .untrusted, .refused, .broken, .internal: nil
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .unusable, .mismatch: .usage
        case .untrusted, .refused: .permission
        case .broken: .unavailable
        case .internal: .internal
        }
    }
}
