import NIOHTTP1
import Wire

/// The routes of the HTTP port (service specification, section 6).
enum HTTPRoute: String, CaseIterable {
    case livez = "/livez"
    case readyz = "/readyz"
    case health = "/health"
    case metrics = "/metrics"
    case info = "/info"
    case models = "/v1/models"
    case embeddings = "/v1/embeddings"
    case embed = "/embed"
    case similarity = "/similarity"
    case tokenize = "/tokenize"

    /// How answers look that are errors.
    enum Family {
        /// Words, for people and probes.
        case plain
        /// As OpenAI's.
        case openAI
        /// As those of Hugging Face's text-embeddings-inference.
        case inference

        /// For a path that is no route.
        init(ofPath path: String) { self = path.hasPrefix("/v1/") ? .openAI : .plain }
    }

    var family: Family {
        switch self {
        case .livez, .readyz, .health, .metrics: .plain
        case .models, .embeddings: .openAI
        case .info, .embed, .similarity, .tokenize: .inference
        }
    }

    /// For clients that embed, not for those who look after the daemon.
    var isAPI: Bool { family != .plain }

    var takesBody: Bool {
        switch self {
        case .embeddings, .embed, .similarity, .tokenize: true
        case .livez, .readyz, .health, .metrics, .info, .models: false
        }
    }

    /// The method of the protocol that it stands for, in metrics and logs.
    var method: Method {
        switch self {
        case .embeddings, .embed: .embed
        case .similarity: .similarity
        case .tokenize: .tokenize
        case .livez, .readyz, .health, .metrics, .info, .models: .info
        }
    }

    /// Livez, readyz and health say nothing that needs guarding.
    var needsAccess: Bool { isAPI || self == .metrics }

    /// What whoever asks must be allowed.
    var role: Roles { self == .metrics ? .metrics : method.role }

    var allowed: String { takesBody ? "POST" : "GET, HEAD" }

    func takes(_ method: HTTPMethod) -> Bool { takesBody ? method == .POST : method == .GET || method == .HEAD }
}
