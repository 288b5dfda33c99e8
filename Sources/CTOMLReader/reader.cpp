#include "CTOMLReader.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

// An assertion of the library that does not hold is an error like others, in every build. It must not end the program.
#undef NDEBUG
#define TOML_ASSERT(condition) ((condition) ? (void)0 : throw std::logic_error("the parser expects " #condition))
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

static void describe(sae_toml_problem &problem, std::string_view reason, toml::source_position position) {
    problem.line = position.line;
    problem.column = position.column;
    size_t count = std::min(reason.size(), sizeof problem.reason - 1);
    memcpy(problem.reason, reason.data(), count);
    problem.reason[count] = 0;
}

static sae_toml_kind kind_of(const toml::node &node) {
    switch (node.type()) {
    case toml::node_type::table: return SAE_TOML_TABLE;
    case toml::node_type::string: return SAE_TOML_STRING;
    case toml::node_type::integer: return SAE_TOML_INTEGER;
    case toml::node_type::boolean: return SAE_TOML_TRUTH;
    default: return SAE_TOML_OTHER;
    }
}

static std::string text_of(const toml::node &node) {
    if (auto string = node.as_string()) return string->get();
    if (auto integer = node.as_integer()) return std::to_string(integer->get());
    if (auto truth = node.as_boolean()) return truth->get() ? "true" : "false";
    if (node.is_table()) return {};
    std::ostringstream text;
    node.visit([&](const auto &value) { text << value; });
    return text.str();
}

static void walk(const toml::table &table, std::string &name, sae_toml_visit visit, void *context) {
    const size_t outer = name.size();
    for (auto &&[key, node] : table) {
        if (outer != 0) name += '.';
        name += key.str();
        const std::string text = text_of(node);
        const sae_toml_value value{kind_of(node), name.data(), name.size(), text.data(), text.size()};
        visit(context, &value);
        if (auto inner = node.as_table()) walk(*inner, name, visit, context);
        name.resize(outer);
    }
}

bool sae_toml_read(const char *text, size_t size, sae_toml_visit visit, void *context, sae_toml_problem *problem) try {
    const toml::table document = toml::parse(std::string_view(text, size));
    std::string name;
    walk(document, name, visit, context);
    return true;
} catch (const toml::parse_error &error) {
    describe(*problem, error.description(), error.source().begin);
    return false;
} catch (const std::exception &error) {
    describe(*problem, error.what(), {});
    return false;
}
