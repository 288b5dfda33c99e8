import Bytes
import Daemon
import Glibc
import Messages
import Wire

private let path = scratchPath("job.json")

/// The records of corpus jobs, as a daemon finds them at its start, and the jobs that strangers ask for.
///
/// The first byte says what the rest is: even a `job.json`, odd a CreateJobRequest. A record that is accepted can be reckoned with
/// and told to a client, and comes back from what is written of it; a job that is accepted is the one that was asked for.
package func fuzzJobs(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 1 else { return }
    let input = Array(bytes.dropFirst())
    if bytes[0] % 2 == 0 { readRecord(input) } else { askForJob(input) }
}

private func readRecord(_ input: [UInt8]) {
    write(input, to: path)
    defer { unlink(path) }
    do throws(FileError) {
        let record = try JobRecord(readingFile: path)
        precondition(record.diskBytes(modelDimensions: 1_024) >= 0, "a job takes less than nothing")
        let message = Job(record, in: "/nowhere").message(place: 0)
        try record.write(to: path)
        let again = try JobRecord(readingFile: path)
        precondition(wireBytes(Job(again, in: "/nowhere").message(place: 0)) == wireBytes(message), "another job comes back")
    } catch { checkWords(error.summary) }
}

private func askForJob(_ input: [UInt8]) {
    guard let request = wireMessage(Sae_V1_CreateJobRequest.self, input) else { return }
    do throws(Failure) {
        let spec = try JobRecord.Spec(request.spec, modelDimensions: 256)
        let again = try JobRecord.Spec(spec.message, modelDimensions: 256)
        precondition(again == spec, "another job comes back")
    } catch {
        precondition(error.code == .invalidArgument && error.message.utf8.count < 1_000, "a refusal for another reason")
    }
}
