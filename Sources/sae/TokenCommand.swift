import ArgumentParser
import Daemon
import Foundation

/// `sae token`: makes a token.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make a token: the secret goes to standard output, once, and its line of the tokens file to standard error.",
        discussion: """
            EXAMPLE:
              sae token indexer --roles embed,jobs > indexer.token 2>> /etc/sae/tokens

            The file (auth.tokens_file) holds digests only; no other user may read it. A reload puts it in force.
            """)

    @Argument(help: "Whose token it is: logs name it.")
    var name: String

    @Option(help: "What it allows: embed, jobs, metrics, admin, with commas between.")
    var roles = "embed"

    func run() throws {
        guard Tokens.isName(name) else { throw CommandError.usage("a token's name is 1 to 64 letters, digits, '-', '_' or '.'") }
        guard let token = Tokens.make(name: name, roles: roles) else {
            throw CommandError.usage("--roles is some of embed, jobs, metrics and admin, with commas between")
        }
        FileHandle.standardError.write(Data((token.line + "\n").utf8))
        print(token.secret)
    }
}
