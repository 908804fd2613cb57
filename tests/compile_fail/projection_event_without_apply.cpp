// expect: eventcore: the projection has no static void apply(views&, const Event&)
// expect: <totals, bank::Deposited>

#include <eventcore/actors/projection_host.hpp>

#include "bank.pb.h"

#include <string_view>

struct totals : eventcore::projection<totals> {
  static constexpr std::string_view name = "totals";
  struct rows : eventcore::view<std::string, bank::Balance> {
    static constexpr std::string_view name = "rows";
  };
  using views = eventcore::views<rows>;
  using events = eventcore::events<bank::Deposited>;
  static void apply(views& v, const bank::Opened&) { v.put<rows>("all", bank::Balance{}); }
};

const auto& table = eventcore::projection_type_of<totals>();
