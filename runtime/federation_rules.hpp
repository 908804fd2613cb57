#pragma once

#include <eventcore/runtime/federation_errc.hpp>
#include <eventcore/runtime/transformations.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// Sends events of one service to others (spec 27).
struct federation_rule {
  std::string name;   ///< for people; may be empty
  std::string source; ///< id of the service that publishes the events
  std::string event;  ///< pattern: `*`, a full type name, or a prefix followed by `*`, such as `shop.Order*`
  std::vector<std::string> targets; ///< ids of services
  std::string transformation;       ///< its name; empty: the event goes as it is

  bool takes(std::string_view service, std::string_view event_type) const;
};

/// What rules may name. Nothing: it is not known here, so it is not checked.
struct federation_names {
  std::optional<std::set<std::string>> services;        ///< for `source`
  std::optional<std::set<std::string>> targets;         ///< for `targets`
  std::optional<std::set<std::string>> transformations; ///< for `transformation`
};

/// Where one event goes, and how.
struct federation_route {
  std::string target;
  std::vector<std::size_t> rules;           ///< places of the rules that send it there
  std::vector<std::string> transformations; ///< of these rules, in their order
};

/// Rules that were checked as a whole. Immutable, so thread-safe.
class federation_rules {
public:
  /// A larger file is refused.
  static constexpr std::size_t max_file_size = 1u << 20;

  /// Reads JSON:
  ///
  ///     {"rules": [
  ///       {"name": "orders for statistics",
  ///        "source": "orders", "event": "shop.Order*", "targets": ["analytics"], "transformation": "anonymize_pii"}
  ///     ]}
  ///
  /// `name` and `transformation` may be missing, everything else may not, and there is nothing else. If one thing is wrong, it
  /// is the error, with a code of its own (`unknown_transformation`, `unknown_target`, `unknown_source`, else `invalid_rules`); if
  /// several are, the error is `invalid_rules` and names all, one a line.
  static result<federation_rules> parse(std::string_view json, const federation_names& known = {});

  /// Reads a file of this form. Errors: `cannot_read_rules`, and as above; they name the file.
  static result<federation_rules> read(const std::filesystem::path& file, const federation_names& known = {});

  /// Checks rules that a program made. Errors as above.
  static result<federation_rules> create(std::vector<federation_rule> rules,
                                         const federation_names& known = {});

  const std::vector<federation_rule>& all() const noexcept { return rules_; }

  /// Where an event of this type goes that `source` publishes (spec 28): each target once, in the order in which the rules name
  /// them, with the transformations of all rules that send it there.
  std::vector<federation_route> routes(std::string_view source, std::string_view event_type) const;

  /// How people know a rule: `rule 2 (orders for statistics)`.
  std::string describe(std::size_t rule) const;

private:
  explicit federation_rules(std::vector<federation_rule> rules)
      : rules_{std::move(rules)} {}

  std::vector<federation_rule> rules_;
};

} // namespace eventcore
