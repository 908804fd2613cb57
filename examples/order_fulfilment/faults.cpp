#include "faults.hpp"

#include "order_saga.hpp"

#include <eventcore/actors/caf.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <sstream>

namespace shop {

namespace {

constexpr std::array<std::string_view, 4> names{"order", "payment", "inventory", "shipping"};

/// Of 64 random bits that depend on all arguments alone, a number from 0 to below 1.
double draw(std::uint64_t seed, std::string_view what, std::string_view participant, std::string_view order) {
  std::uint64_t h = 0xCBF29CE484222325u ^ (seed * 0x9E3779B97F4A7C15u); // FNV-1a
  for (auto part : {what, participant, order}) {
    for (char c : part)
      h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    h = (h ^ 0xFFu) * 0x100000001B3u;
  }
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u; // splitmix64
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((h ^ (h >> 31)) >> 11) / static_cast<double>(std::uint64_t{1} << 53);
}

double rate_of(const fault_rates& rates, std::string_view participant) {
  auto i = rates.find(participant);
  return i == rates.end() ? 0 : i->second;
}

class faulty_actor : public caf::event_based_actor {
public:
  faulty_actor(caf::actor_config& config, std::string participant, caf::actor target, faults which)
      : caf::event_based_actor{config}
      , participant_{std::move(participant)}
      , target_{std::move(target)}
      , faults_{std::move(which)} {}

protected:
  caf::behavior make_behavior() override {
    set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
      return static_cast<faulty_actor*>(self)->on_request(*self->current_mailbox_element());
    });
    return {[](caf::unit_t) {}}; // without a handler the actor would end
  }

private:
  caf::result<caf::message> on_request(caf::mailbox_element& element) {
    auto content = element.move_content_to_message();
    const auto met = fault_of(content);
    if (met == fault::fail)
      return eventcore::to_caf_error(eventcore::make_error(eventcore::entity_errc::rejected,
                                                           participant_ + " is told to fail this order"));
    auto sender = met == fault::none ? std::move(element.sender) : nullptr;
    const auto mid = met == fault::none ? element.mid : caf::make_message_id();
    caf::actor_cast<caf::abstract_actor*>(target_)->enqueue(
        caf::make_mailbox_element(std::move(sender), mid, {}, std::move(content)), context());
    if (met == fault::lie)
      return eventcore::to_caf_error(eventcore::make_error(eventcore::entity_errc::outcome_unknown,
                                                           participant_ + " does not say what it did"));
    element.mid.mark_as_answered(); // by the target; or not at all
    return caf::delegated<caf::message>{};
  }

  fault fault_of(const caf::message& content) {
    if (content.size() < 2 || !content.match_element<eventcore::command_context>(content.size() - 2))
      return fault::none;
    bool undo = false;
    const auto order =
        saga_of(content.get_as<eventcore::command_context>(content.size() - 2).idempotency_key, undo);
    if (undo)
      return faults_.sticks(participant_, order) ? fault::fail : fault::none;
    const auto met = faults_.of(participant_, order);
    if ((met == fault::slow || met == fault::lie) && !faults_.every_time(participant_, order) &&
        !met_before_.emplace(order).second)
      return fault::none;
    return met;
  }

  std::string participant_;
  caf::actor target_;
  faults faults_;
  std::set<std::string, std::less<>> met_before_;
};

} // namespace

fault faults::of(std::string_view participant, std::string_view order) const {
  if (draw(seed, "fail", participant, order) < rate_of(fail, participant))
    return fault::fail;
  if (draw(seed, "slow", participant, order) < rate_of(slow, participant))
    return fault::slow;
  if (draw(seed, "lie", participant, order) < rate_of(lie, participant))
    return fault::lie;
  return fault::none;
}

bool faults::every_time(std::string_view participant, std::string_view order) const {
  return draw(seed, "every time", participant, order) < 0.5;
}

bool faults::sticks(std::string_view participant, std::string_view order) const {
  return draw(seed, "stick", participant, order) < rate_of(stick, participant);
}

bool faults::any(std::string_view participant) const {
  return std::ranges::any_of(std::array{&fail, &slow, &lie, &stick},
                             [&](auto* rates) { return rate_of(*rates, participant) > 0; });
}

std::string parse_rates(const std::string& text, fault_rates& rates) {
  if (text.empty())
    return "a share from 0 to 1 is missing, as in payment=0.2";
  std::istringstream parts{text};
  for (std::string part; std::getline(parts, part, ',');) {
    const auto equals = part.find('=');
    const auto name = equals == std::string::npos ? std::string{} : part.substr(0, equals);
    const auto number = equals == std::string::npos ? part : part.substr(equals + 1);
    double rate = -1;
    const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), rate);
    if (problem != std::errc{} || end != number.data() + number.size() || !(rate >= 0 && rate <= 1))
      return "\"" + part + "\": a share from 0 to 1 is missing, as in payment=0.2";
    if (equals != std::string::npos && std::ranges::find(names, name) == names.end())
      return "\"" + part + "\": the participants are order, payment, inventory and shipping";
    if (equals == std::string::npos)
      for (auto each : names)
        rates[std::string{each}] = rate;
    else
      rates[name] = rate;
  }
  return {};
}

caf::actor start_faulty(caf::actor_system& system, std::string participant, const caf::actor& target,
                        const faults& which) {
  return system.spawn<faulty_actor>(std::move(participant), target, which);
}

std::string_view saga_of(std::string_view key, bool& undo) {
  // `<stream>/<step>`, `.../undo` or `.../undo#2`; no id of an order has a slash.
  const auto last = key.substr(key.rfind('/') + 1);
  undo = last == "undo" || last.starts_with("undo#");
  if (undo)
    key.remove_suffix(last.size() + 1);
  key = key.substr(0, key.rfind('/'));
  const auto prefix = order_saga::category.size() + 1;
  return key.size() > prefix ? key.substr(prefix) : std::string_view{};
}

} // namespace shop
