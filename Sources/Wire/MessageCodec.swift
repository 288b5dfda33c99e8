package import SwiftProtobuf

/// The bytes of a message. None of ours has a required field, so encoding cannot fail.
package func wireBytes(_ message: some Message) -> [UInt8] {
    guard let bytes: [UInt8] = try? message.serializedBytes() else {
        preconditionFailure("a proto3 message always serialises")
    }
    return bytes
}

/// The message in `bytes`, or nil when they are not one. Nesting is limited to 16.
package func wireMessage<M: Message>(_: M.Type, _ bytes: some Collection<UInt8>) -> M? {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = 16
    return try? M(serializedBytes: Array(bytes), options: options)
}
