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
