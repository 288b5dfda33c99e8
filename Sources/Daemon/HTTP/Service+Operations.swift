import Bytes
import NIOHTTP1

/// What the routes that need no worker answer.
extension Service {
    func reply(to route: HTTPRoute, isVerbose: Bool) -> HTTPReply {
        switch route {
        case .livez: isAdvancing ? HTTPReply(.ok, text: "ok\n") : HTTPReply(.serviceUnavailable, text: "stuck\n")
        case .readyz, .health: readiness(isVerbose)
        case .metrics: HTTPReply(.ok, text: metricsPage(), type: "text/plain; version=0.0.4; charset=utf-8")
        case .info: HTTPReply(.ok, json: modelDescription)
        case .models: HTTPReply(.ok, json: modelList)
        case .embeddings, .embed, .similarity, .tokenize: HTTPReply(.internalServerError, text: "needs a body\n")
        }
    }

    private func readiness(_ isVerbose: Bool) -> HTTPReply {
        let state = state
        let status: HTTPResponseStatus = state == .serving ? .ok : .serviceUnavailable
        guard isVerbose else { return HTTPReply(status, text: state == .serving ? "ok\n" : "\(state.label)\n") }
        let isStarted = state != .starting
        let checks = [
            ("model", isStarted), ("self-test", isStarted), ("listeners", isStarted),
            ("not-draining", state == .serving || state == .starting),
        ]
        // The daemon is ready without jobs, too.
        let all = checks + [("jobs (informative)", jobs.isServing)]
        return HTTPReply(status, text: all.map { "[\($0.1 ? "+" : "-")]\($0.0)\n" }.joined())
    }

    /// The shape of text-embeddings-inference.
    private var modelDescription: JSONWriter {
        var json = JSONWriter()
        json.object {
            $0.value("model_id", methods.modelName)
            $0.value("model_sha", hexadecimal(methods.digest))
            $0.value("model_dtype", "int8")
            $0.object("model_type") { $0.object("embedding") { $0.value("pooling", "sae") } }
            $0.value("max_concurrent_requests", HTTPConnections.maximum)
            $0.value("max_input_length", configuration.maximumPiecesPerText)
            $0.value("max_batch_tokens", configuration.batchMaximumPieces)
            $0.value("max_batch_requests", configuration.batchMaximumTexts)
            $0.value("max_client_batch_size", configuration.maximumTextsPerRequest)
            $0.value("auto_truncate", false)
            $0.value("tokenization_workers", workers.count)
            $0.value("version", Version.current)
        }
        return json
    }

    private var modelList: JSONWriter {
        var json = JSONWriter()
        json.object {
            $0.value("object", "list")
            $0.array("data", CollectionOfOne(methods.modelName)) { json, name in
                json.object {
                    $0.value("id", name)
                    $0.value("object", "model")
                    $0.value("created", 0)
                    $0.value("owned_by", "sae")
                }
            }
        }
        return json
    }
}
