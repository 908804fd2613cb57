#include "audit.hpp"

#include "inventory.hpp"
#include "order_saga.hpp"
#include "payment.hpp"
#include "shipping.hpp"

#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/event_decoder.hpp>

#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>

namespace shop {

namespace {

using eventcore::recorded_event;

constexpr std::array<std::string_view, 4> steps{"create_order", "reserve_payment", "reserve_inventory",
                                                "schedule_shipping"};

std::size_t index_of(const std::string& step) {
  return static_cast<std::size_t>(std::ranges::find(steps, step) - steps.begin());
}

eventcore::result<void> read_all(eventcore::journal_reader& journal,
                                 const std::function<bool(const recorded_event&)>& take) {
  const auto end = journal.head();
  if (!end)
    return end.error();
  eventcore::event_page page;
  for (eventcore::log_position next = 1; next <= *end;) {
    if (auto read = journal.read_log(next, page); !read)
      return read.error();
    for (auto& event : page)
      if (!take(event))
        return eventcore::make_error(eventcore::journal_errc::corrupt,
                                     "the event at position " + std::to_string(event.position) + " of type " +
                                         event.type + " does not parse");
  }
  return {};
}

/// Whether `e` is an event of type `Event` that parses into `parsed`. `sound` becomes false if it does not.
template <class Event>
bool is(const recorded_event& e, Event& parsed, bool& sound) {
  if (e.type != Event::descriptor()->full_name())
    return false;
  sound = parsed.ParseFromString(e.payload);
  return sound;
}

std::string after(const std::string& text, std::string_view prefix) {
  return text.substr(std::min(text.size(), prefix.size() + 1));
}

/// A text field of a message that is known by its descriptor alone.
std::string text_of(const google::protobuf::Message& m, const char* field) {
  const auto* f = m.GetDescriptor()->FindFieldByName(field);
  return f ? m.GetReflection()->GetString(m, f) : std::string{};
}
bool flag_of(const google::protobuf::Message& m, const char* field) {
  const auto* f = m.GetDescriptor()->FindFieldByName(field);
  return f && m.GetReflection()->GetBool(m, f);
}

/// The runtime's events of a saga are read as the journal describes them.
bool follow_saga(const recorded_event& e, eventcore::event_decoder& decoder, order_trail& trail) {
  using outcome = order_trail::outcome;
  auto decoded = decoder.decode(e);
  if (!decoded)
    return false;
  const auto& m = **decoded;
  const auto type = after(e.type, "eventcore");
  const auto note = [&](std::vector<std::string>& list) {
    if (auto step = text_of(m, "step"); std::ranges::find(list, step) == list.end())
      list.push_back(std::move(step));
  };
  if (type == "SagaStarted") {
    trail.started_at = e.occurred_at;
    trail.ended = outcome::unfinished;
  } else if (type == "SagaStepConfirmed") {
    note(trail.to_undo);
  } else if (type == "SagaStepDelayed" || type == "SagaStepFailed") {
    if (flag_of(m, "in_doubt"))
      note(trail.to_undo);
    if (type == "SagaStepFailed")
      trail.failed_step = text_of(m, "step");
  } else if (type == "SagaCompensationRequested") {
    note(trail.undo_requested);
  } else if (type == "SagaStepCompensated") {
    ++trail.undone[text_of(m, "step")];
  } else if (type == "SagaCompensationFailed") {
    trail.ended = outcome::stuck;
  } else if (type == "SagaOperated") {
    trail.ended = outcome::unfinished;
  } else if (type == "SagaCompleted" || type == "SagaCompensated") {
    trail.ended = type == "SagaCompleted" ? outcome::completed : outcome::compensated;
    trail.ended_at = e.occurred_at;
    ++trail.ends;
  }
  return true;
}

} // namespace

unsigned order_trail::count(const std::string& type) const {
  auto i = effects.find(type);
  return i == effects.end() ? 0 : i->second;
}

eventcore::result<audit> audit_journals(std::span<eventcore::journal_reader* const> journals) {
  audit found;
  const auto take = [&](const recorded_event& e, eventcore::event_decoder& decoder) {
    const auto category = e.stream.substr(0, e.stream.find('-'));
    const auto id = after(e.stream, category);
    bool sound = true;
    if (category == order_saga::category)
      return follow_saga(e, decoder, found.orders[id]);
    if (category != stock::category && e.type.starts_with("shop."))
      ++found.orders[id].effects[after(e.type, "shop")];
    std::int64_t cents = 0;
    if (StockReceived received; is(e, received, sound)) {
      found.received[id] += received.quantity();
      found.left[id] += received.quantity();
    } else if (UnitsReserved reserved; is(e, reserved, sound)) {
      found.left[id] -= reserved.quantity();
      found.orders[reserved.order_id()].held[id] += reserved.quantity();
    } else if (UnitsReleased released; is(e, released, sound)) {
      found.left[id] += released.quantity();
      found.orders[released.order_id()].held[id] -= released.quantity();
    } else if (PaymentTaken taken; is(e, taken, sound)) {
      cents = taken.cents();
    } else if (PaymentCancelled cancelled; is(e, cancelled, sound)) {
      cents = -cancelled.cents();
    }
    if (cents != 0) {
      found.orders[id].taken += cents;
      found.taken += cents;
    }
    return sound;
  };
  for (auto* journal : journals) {
    eventcore::event_decoder decoder{*journal};
    if (auto done = read_all(*journal, [&](const recorded_event& e) { return take(e, decoder); }); !done)
      return done.error();
  }
  return found;
}

std::string fault_in(const PlaceOrder& order, const order_trail& trail) {
  using outcome = order_trail::outcome;
  if (trail.ended != outcome::completed && trail.ended != outcome::compensated)
    return trail.ended == outcome::stuck  ? "the saga is stuck"
           : trail.ended == outcome::none ? "there is no saga"
                                          : "the saga has not ended";
  if (trail.ends != 1)
    return "the saga ended " + std::to_string(trail.ends) + " times";
  for (auto& [type, times] : trail.effects)
    if (times != 1)
      return type + " happened " + std::to_string(times) + " times";
  for (auto& [step, times] : trail.undone)
    if (times != 1)
      return step + " was compensated " + std::to_string(times) + " times";

  const bool completed = trail.ended == outcome::completed;
  for (auto [did, undid] : {std::pair{"OrderCreated", "OrderCancelled"},
                            {"PaymentTaken", "PaymentCancelled"},
                            {"ItemsReserved", "ItemsReleased"},
                            {"ShippingScheduled", "ShippingCancelled"}}) {
    if (completed && (trail.count(did) != 1 || trail.count(undid) != 0))
      return std::string{"the order is completed, but "} + did + " is missing or undone";
    if (!completed && trail.count(did) > trail.count(undid))
      return std::string{"the order is compensated, but "} + did + " is not undone";
  }
  std::map<std::string, std::int64_t> wanted;
  if (completed)
    wanted = inventory::units_of(order.items());
  for (auto& [sku, quantity] : trail.held)
    if (quantity != wanted[sku])
      return "it holds " + std::to_string(quantity) + " units of " + sku;
  for (auto& [sku, quantity] : wanted)
    if (!trail.held.contains(sku))
      return "it does not hold its units of " + sku;
  if (trail.taken != (completed ? total_of(order.items()).value_or(0) : 0))
    return "the gateway holds " + std::to_string(trail.taken) + " cents for it";

  if (completed)
    return trail.undo_requested.empty() ? "" : "it is completed, and was compensated";
  auto backwards = trail.to_undo;
  std::ranges::sort(backwards, std::greater{}, index_of);
  if (trail.undo_requested != backwards)
    return "its compensations were not those of its steps in reverse order";
  if (trail.undone.size() != backwards.size())
    return "not all of its compensations were confirmed";
  return {};
}

} // namespace shop
