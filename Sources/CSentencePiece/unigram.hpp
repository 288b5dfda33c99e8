// The library's segmentation of plain words without the library: a tenth of the time, no allocation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sae {

/// Pieces of words of printable ASCII without upper case, which nmt_nfkc_cf leaves as they are: the best path through
/// the pieces by the library's rule (`unigram::Model::EncodeOptimized` of 0.1.97), to the last bit of a score, so that
/// ties fall the same way. Immutable.
class Unigram {
public:
    /// `model` is serialised. One that is not as `sae_pieces_train` makes them (other normalisation or algorithm, pieces
    /// of a user's own) is left to the library: `segment` then declines every word.
    explicit Unigram(std::string_view model);
    /// Declines every word.
    Unigram() = default;

    /// The ids of a word, at most its length and 3, in `ids`, and their number; -1 for a word that is not plain.
    ptrdiff_t segment(const uint8_t *word, size_t length, uint32_t *ids) const;

private:
    /// A node of the trie of pieces, a double array: the child of a node by `symbol` is `units[base + symbol]` if that
    /// has the label `symbol`. No two nodes with children have the same base. U+2581 is the symbol ' '.
    struct Unit {
        uint32_t base : 24, label : 8;
        /// Of the piece that ends here; NaN if none does.
        float score;
    };
    struct Piece {
        std::string text;
        uint32_t id;
        float score;
    };

    bool read(std::string_view model, std::vector<Piece> &pieces);
    bool build(std::vector<Piece> &pieces);

    std::vector<Unit> units;
    /// The piece of a unit with a score.
    std::vector<uint32_t> ids;
    /// The piece of a byte that no other piece covers.
    uint32_t byte_ids[256];
    float unknown_score = 0;
};

} // namespace sae
