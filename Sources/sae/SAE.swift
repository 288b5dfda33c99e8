import ArgumentParser

@main
struct SAE: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "sae", abstract: "The Semantic Annealing Engine.")
}
