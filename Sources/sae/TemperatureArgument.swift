import ArgumentParser
import SAEEngine

/// How flags that take a temperature explain it.
let temperatureHelp = ArgumentHelp(
    "Temperature of the gates: similarity (the model's own), classification, infinite (the plain sum), or 0.25 to 16.",
    valueName: "temperature")

/// A temperature as people write it: a number, or the name of a preset.
func parsedTemperature(_ argument: String) throws -> Temperature {
    switch argument {
    case "similarity": return .similarity
    case "classification": return .classification
    case "infinite": return .infinite
    default:
        guard let degrees = Float(argument), let temperature = Temperature(degrees) else {
            throw ValidationError("'\(argument)' is not similarity, classification, infinite, or a number from 0.25 to 16")
        }
        return temperature
    }
}

let sweepsHelp = ArgumentHelp("How often the gates are computed, 1 to 16: again from the weighted sum.", valueName: "count")

/// A count of sweeps as people write it.
func parsedSweeps(_ argument: String) throws -> Int {
    guard let count = Int(argument), (1...16).contains(count) else { throw ValidationError("--sweeps is 1 to 16") }
    return count
}
