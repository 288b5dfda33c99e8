import Annealing
import Bytes
import Rules

extension Trace {
    /// Of the JSON; raised when a key changes its meaning or goes away.
    package static let schema = 1

    /// One line of JSON, as `docs/trace.md` describes it.
    package var json: String {
        var writer = JSONWriter()
        write(nil, to: &writer)
        return writer.text
    }

    func write(_ key: String?, to writer: inout JSONWriter) {
        writer.object(key) { writer in
            writer.value("schema", Self.schema)
            writer.value("model", modelName)
            writer.value("generation", hexadecimal(generation))
            writer.value("numerics", numerics)
            writer.value("text", String(decoding: text, as: UTF8.self))
            writer.value("temperature", degrees ?? .infinity)
            writer.array("pieces", pieces) { writer, piece in
                writer.object { writer in
                    writer.value("id", piece.id)
                    writer.value("piece", piece.text)
                    writer.value("begin", piece.bytes.lowerBound)
                    writer.value("end", piece.bytes.upperBound)
                }
            }
            if let annealing { annealing.write(to: &writer) } else { writer.null("annealing") }
            writer.array("items", items) { $1.write(to: &$0) }
            writer.array("couplings", couplings) { $1.write(to: &$0) }
            writer.value("rule_count", ruleCount)
            writer.array("rules", rules) { $1.write(to: &$0) }
            writer.array("steps", steps) { writer, step in
                writer.object { writer in
                    writer.value("step", step.name.rawValue)
                    writer.value("cosine", step.cosine)
                }
            }
            writer.value("program", source)
            writer.array("vector", vector) { $0.value(nil, $1) }
        }
    }
}

extension Trace.Annealing {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object("annealing") { writer in
            writer.value("stop", stop.rawValue)
            writer.value("energy", energy)
            writer.array("edits", edits) { writer, match in writer.object { write(match, to: &$0) } }
            writer.array("sweeps", sweeps) { writer, sweep in
                writer.object { writer in
                    writer.value("temperature", sweep.temperature)
                    writer.value("energy", sweep.energy)
                    writer.array("bids", sweep.bids) { writer, bid in writer.object { write(bid, to: &$0) } }
                }
            }
            guard let exact else { return writer.null("exact") }
            writer.object("exact") { writer in
                write("interval", exact.interval, to: &writer)
                write("saturation", exact.saturation, to: &writer)
            }
        }
    }

    private func write(_ match: RuleMatch, to writer: inout JSONWriter) {
        writer.value("rule", match.rule)
        writer.value("edit", edit[match.rule]?.kind == .replace ? "replace" : "add")
        writer.value("phrase", edit[match.rule]?.phrase ?? 0)
        writer.value("first_piece", match.first)
        writer.value("last_piece", match.last)
    }

    private func write(_ bid: AnnealingTrace.Bid, to writer: inout JSONWriter) {
        write(bid.match, to: &writer)
        writer.value("is_withdrawal", bid.isWithdrawal)
        writer.value("strength", bid.strength)
        writer.value("priority", bid.priority)
        writer.value("fate", bid.fate.rawValue)
        writer.value("change", bid.change)
        writer.array("evicted", bid.evicted) { writer, match in writer.object { write(match, to: &$0) } }
    }

    private func write(_ key: String, _ optimum: ExactOptimum, to writer: inout JSONWriter) {
        writer.object(key) { writer in
            writer.value("energy", optimum.energy.value)
            writer.value("is_complete", optimum.isComplete)
            writer.array("edits", optimum.edits) { writer, match in writer.object { write(match, to: &$0) } }
        }
    }
}

extension Trace.Item {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.value("word", isPhrase ? "PHRASE" : "LEXEME")
            writer.value("record", record)
            writer.value("text", text)
            writer.value("first_piece", pieces.lowerBound)
            writer.value("last_piece", pieces.upperBound)
            writer.value("weight", weight)
            writer.object("log_weight") { writer in
                writer.value("bias", logWeight.bias)
                writer.value("context", logWeight.context)
                writer.array("neighbours", logWeight.neighbours) { $0.value(nil, $1) }
            }
            writer.value("share", share)
        }
    }
}

extension Trace.Coupling {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.value("left", left)
            writer.value("right", right)
            writer.value("offset", offset)
            writer.value("strength", strength)
            writer.value("share", share)
        }
    }
}

extension Trace.FiredRule {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.value("rule", rule)
            writer.value("bid", bid)
            writer.value("strength", strength)
            writer.value("cosine", cosine)
            writer.value("share", share)
            writer.array("causes", causes) { writer, cause in
                writer.object { writer in
                    writer.value("item", cause.item)
                    writer.value("amount", cause.amount)
                }
            }
        }
    }
}

/// 16 digits.
private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
