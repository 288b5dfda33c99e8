#include "CSentencePiece.h"
#include "unigram.hpp"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>

struct sae_pieces {
    sentencepiece::SentencePieceProcessor processor;
    sae::Unigram unigram;
};

static void copy_error(const std::string &message, char *error, size_t error_size) {
    if (error_size == 0) return;
    size_t count = message.size() < error_size - 1 ? message.size() : error_size - 1;
    memcpy(error, message.data(), count);
    error[count] = 0;
}

sae_pieces *sae_pieces_open(const void *bytes, size_t count, char *error, size_t error_size) try {
    const std::string_view model(static_cast<const char *>(bytes), count);
    auto pieces = std::make_unique<sae_pieces>();
    auto status = pieces->processor.LoadFromSerializedProto(model);
    if (status.ok()) {
        pieces->unigram = sae::Unigram(model);
        return pieces.release();
    }
    copy_error(status.ToString(), error, error_size);
    return nullptr;
} catch (const std::exception &e) {
    copy_error(e.what(), error, error_size);
    return nullptr;
}

void sae_pieces_close(sae_pieces *pieces) { delete pieces; }

uint32_t sae_pieces_count(const sae_pieces *pieces) {
    return static_cast<uint32_t>(pieces->processor.GetPieceSize());
}

const char *sae_pieces_text(const sae_pieces *pieces, uint32_t id, size_t *length) {
    if (id >= sae_pieces_count(pieces)) return nullptr;
    const std::string &text = pieces->processor.IdToPiece(static_cast<int>(id));
    *length = text.size();
    return text.data();
}

ptrdiff_t sae_pieces_encode(const sae_pieces *pieces, const char *text, size_t length, uint32_t *ids,
                            uint32_t *begins, uint32_t *ends, size_t capacity) try {
    auto encoded = pieces->processor.EncodeAsImmutableProto({text, length});
    size_t count = encoded.pieces_size();
    for (size_t i = 0; i < count && i < capacity; i++) {
        auto piece = encoded.pieces(static_cast<int>(i));
        ids[i] = piece.id();
        if (begins) begins[i] = piece.begin();
        if (ends) ends[i] = piece.end();
    }
    return static_cast<ptrdiff_t>(count);
} catch (const std::exception &) {
    return -1;
}

ptrdiff_t sae_pieces_segment(const sae_pieces *pieces, const uint8_t *word, size_t length, uint32_t *ids) {
    return pieces->unigram.segment(word, length, ids);
}

namespace {
class Corpus : public sentencepiece::SentenceIterator {
public:
    Corpus(sae_next_text next, void *context) : next_(next), context_(context) { Next(); }
    bool done() const override { return done_; }
    const std::string &value() const override { return value_; }
    sentencepiece::util::Status status() const override { return sentencepiece::util::Status(); }
    void Next() override {
        const char *text;
        size_t length;
        if (next_(context_, &text, &length)) {
            value_.assign(text, length);
        } else {
            done_ = true;
        }
    }

private:
    sae_next_text next_;
    void *context_;
    std::string value_;
    bool done_ = false;
};
} // namespace

int sae_pieces_train(sae_next_text next, void *context, uint32_t vocabulary, uint32_t threads, uint64_t sentences,
                     char **bytes, size_t *count, char *error, size_t error_size) try {
    Corpus corpus(next, context);
    std::unordered_map<std::string, std::string> options = {
        {"model_type", "unigram"},
        {"vocab_size", std::to_string(vocabulary)},
        {"num_threads", std::to_string(threads)},
        {"input_sentence_size", std::to_string(sentences)},
        {"shuffle_input_sentence", "false"},
        {"normalization_rule_name", "nmt_nfkc_cf"},
        {"byte_fallback", "true"},
        {"hard_vocab_limit", "false"},
        {"unk_id", "0"},
        {"bos_id", "-1"},
        {"eos_id", "-1"},
        {"pad_id", "-1"},
        {"max_sentence_length", "16384"},
        {"minloglevel", "2"},
    };
    std::string model;
    auto status = sentencepiece::SentencePieceTrainer::Train(options, &corpus, &model);
    if (!status.ok()) {
        copy_error(status.ToString(), error, error_size);
        return -1;
    }
    *bytes = static_cast<char *>(malloc(model.size()));
    if (!*bytes) {
        copy_error("out of memory", error, error_size);
        return -1;
    }
    memcpy(*bytes, model.data(), model.size());
    *count = model.size();
    return 0;
} catch (const std::exception &e) {
    copy_error(e.what(), error, error_size);
    return -1;
}

void sae_pieces_free_bytes(char *bytes) { free(bytes); }
