import Bytes
import NIOHTTP1
import Transport
import Wire

/// What goes back for one request.
struct HTTPReply: Sendable {
    var status: HTTPResponseStatus
    var type: String
    var fields: [(name: String, value: String)] = []
    var body: [SendBuffer]

    init(_ status: HTTPResponseStatus, text: String, type: String = "text/plain; charset=utf-8") {
        self.status = status
        self.type = type
        body = [SendBuffer(Array(text.utf8))]
    }

    init(_ status: HTTPResponseStatus, json: [SendBuffer]) {
        self.status = status
        type = "application/json"
        body = json
    }

    init(_ status: HTTPResponseStatus, json: JSONWriter) {
        self.init(status, json: [SendBuffer(Array(json.text.utf8))])
    }

    var byteCount: Int { body.reduce(0) { $0 + $1.count } }
}

/// Why a request is not answered with what it asks for.
struct HTTPFailure: Error {
    var failure: Failure
    /// Where the status does not follow from the code.
    var status: HTTPResponseStatus?
    /// The member of the body that is wrong, and OpenAI's name for what is.
    var parameter: String?
    var code: String?
    var allow: String?
    /// The input is there, but empty.
    var isEmpty = false

    init(_ failure: Failure, parameter: String? = nil) {
        self.failure = failure
        self.parameter = parameter
    }

    /// The request itself is wrong, whatever it asks for.
    init(_ status: HTTPResponseStatus, _ message: String, limit: String = "", value: UInt64 = 0) {
        failure = Failure(.invalidArgument, message, limit: limit, value: value)
        self.status = status
    }

    /// A member of the body has a value that cannot be.
    init(parameter: String, _ message: String, code: String? = nil) {
        failure = Failure(.invalidArgument, message)
        self.parameter = parameter
        self.code = code
    }

    /// The answer in the shape that clients of `family` expect.
    func reply(_ family: HTTPRoute.Family) -> HTTPReply {
        let status = self.status ?? (isEmpty ? .badRequest : Self.status(failure.code, family))
        var reply: HTTPReply
        switch family {
        case .plain: reply = HTTPReply(status, text: failure.message + "\n")
        case .openAI: reply = HTTPReply(status, json: openAIBody)
        case .inference: reply = HTTPReply(status, json: inferenceBody)
        }
        switch failure.code {
        case .resourceExhausted, .unavailable:
            let milliseconds = max(Int(failure.retryAfterMilliseconds), 1)
            reply.fields.append(("retry-after", String((milliseconds + 999) / 1_000)))
            reply.fields.append(("retry-after-ms", String(milliseconds)))
        case .deadlineExceeded, .internal: reply.fields.append(("x-should-retry", "false"))
        case .unauthenticated: reply.fields.append(("www-authenticate", "Bearer"))
        default: break
        }
        if let allow { reply.fields.append(("allow", allow)) }
        return reply
    }

    private static func status(_ code: StatusCode, _ family: HTTPRoute.Family) -> HTTPResponseStatus {
        switch code {
        case .invalidArgument: family == .inference ? .unprocessableEntity : .badRequest
        case .unauthenticated: .unauthorized
        case .permissionDenied: .forbidden
        case .notFound: .notFound
        case .resourceExhausted: .tooManyRequests
        case .deadlineExceeded: .gatewayTimeout
        case .unavailable: .serviceUnavailable
        default: .internalServerError
        }
    }

    private var openAIBody: JSONWriter {
        let limit = failure.limit.isEmpty ? nil : failure.limit
        let (type, code): (String, String?) =
            switch failure.code {
            case .invalidArgument: ("invalid_request_error", limit)
            case .notFound: ("invalid_request_error", "not_found")
            case .unauthenticated: ("authentication_error", "invalid_api_key")
            case .permissionDenied: ("permission_error", nil)
            case .resourceExhausted: ("server_overloaded", limit)
            case .deadlineExceeded: ("timeout", "deadline_exceeded")
            case .unavailable: ("server_unavailable", failure.message.hasSuffix("starting") ? "starting" : "draining")
            default: ("server_error", "internal")
            }
        var json = JSONWriter()
        json.object {
            $0.object("error") {
                $0.value("message", message)
                $0.value("type", type)
                $0.value("param", orNull: parameter)
                $0.value("code", orNull: self.code ?? code)
            }
        }
        return json
    }

    private var inferenceBody: JSONWriter {
        let type =
            switch failure.code {
            case .invalidArgument, .notFound: isEmpty ? "Empty" : "Validation"
            case .unauthenticated, .permissionDenied: "Unauthorized"
            case .resourceExhausted, .deadlineExceeded: "Overloaded"
            case .unavailable: "Unhealthy"
            default: "Backend"
            }
        var json = JSONWriter()
        json.object {
            $0.value("error", parameter.map { message.hasPrefix($0) ? message : "\($0): \(message)" } ?? message)
            $0.value("error_type", type)
        }
        return json
    }

    private var message: String {
        guard !failure.limit.isEmpty, !failure.message.contains(failure.limit) else { return failure.message }
        let value = failure.limitValue == 0 ? "" : " = \(failure.limitValue)"
        return "\(failure.message) (\(failure.limit)\(value))"
    }
}

extension JSONWriter {
    fileprivate mutating func value(_ key: String, orNull string: String?) {
        if let string { value(key, string) } else { null(key) }
    }
}
