#pragma once

#include <eventcore/persistence/journal.hpp>

#include "shop.pb.h"

#include <filesystem>
#include <memory>
#include <vector>

namespace shop {

/// A service that counts orders and must not know whose they are. The shop's hub sends it the events of orders, by the rules of
/// a file; they lie in its own journal.
class analytics {
public:
  /// `dir` is the folder of its journal, made if there is none.
  static eventcore::result<analytics> open(const std::filesystem::path& dir);

  eventcore::journal& journal() noexcept { return *journal_; }

  /// How often the e-mail address, the name or the address of one of these customers stands in its files, byte by byte. Texts
  /// shorter than eight bytes are not looked for: they are there by chance.
  eventcore::result<std::size_t> count_personal_data(const std::vector<PlaceOrder>& orders) const;

private:
  analytics(std::filesystem::path dir, std::unique_ptr<eventcore::journal> journal)
      : dir_{std::move(dir)}
      , journal_{std::move(journal)} {}

  std::filesystem::path dir_;
  std::unique_ptr<eventcore::journal> journal_;
};

/// How many events of orders a journal has. Error: it cannot be read.
eventcore::result<std::size_t> count_order_events(eventcore::journal_reader& journal);

} // namespace shop
