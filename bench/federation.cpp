#include "bench.pb.h"
#include "latencies.hpp"
#include "scenario.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/journal_target.hpp>
#include <eventcore/runtime/node.hpp>

#include <stdexcept>

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t in_commit = 1'000;
constexpr std::size_t streams = 10'000;

template <class T>
T value_of(eventcore::result<T> r) {
  if (!r)
    throw std::runtime_error(r.error().message());
  return *std::move(r);
}

/// An order with a customer, of whom nothing may be told.
eventcore::new_event ordered(std::size_t i) {
  Ordered e;
  e.set_customer("Customer " + std::to_string(i));
  e.set_email("customer" + std::to_string(i) + "@example.org");
  e.set_note("ring twice, or write to me@example.org; this text is as long as such texts are");
  e.set_cents(static_cast<std::int64_t>(i));
  return {Ordered::descriptor(), e.SerializeAsString(), 1};
}

void write_orders(eventcore::journal& journal, std::size_t count) {
  for (std::size_t i = 0; i < count; i += in_commit) {
    eventcore::commit c;
    for (auto n = i; n < i + in_commit; ++n)
      c.appends.push_back({*eventcore::stream_id::of("order", std::to_string(n % streams)),
                           eventcore::expected_version::any(),
                           {ordered(n)}});
    value_of(journal.commit_and_wait(std::move(c)));
  }
}

/// Events a second from the journal of a node to that of a target, by one rule.
double events_per_second(eventcore::node& node, eventcore::log_position head,
                         const std::filesystem::path& dir, const std::string& transformation) {
  const auto target = value_of(eventcore::open_lmdb_journal(dir));
  eventcore::publication content;
  content.map<Ordered>("orders").categories["order"];
  const auto rules = value_of(
      eventcore::federation_rules::create({{"", "bench", "*", {"target" + transformation}, transformation}}));
  const auto start = steady::now();
  const auto hub = value_of(eventcore::federation_hub::start(
      node, value_of(node.publish(std::move(content))), rules,
      {{"target" + transformation, eventcore::make_journal_target(*target)}}));
  if (auto there = hub.reached("target" + transformation, head, 10min); !there)
    throw std::runtime_error(there.error().message());
  const auto seconds = seconds_since(start);
  if (auto stopped = hub.stop(1min); !stopped)
    throw std::runtime_error(stopped.error().message());
  if (value_of(target->head()) != head)
    throw std::runtime_error("the target does not have all events");
  return static_cast<double>(head) / seconds;
}

} // namespace

figure federate(run_context& context) {
  const std::size_t count = context.quick ? 100'000 : 1'000'000;
  eventcore::node_options options;
  options.name = "bench";
  options.journal_dir = context.dir / "source";
  auto node = value_of(eventcore::node::open(options));
  write_orders(node.journal(), count);
  const auto head = value_of(node.journal().head());

  figure f;
  f.value = events_per_second(node, head, context.dir / "masked", "anonymize_pii");
  const auto plain = events_per_second(node, head, context.dir / "plain", "");
  f.note = std::to_string(count) +
           " events, each masked in three fields and committed by itself, with the cursor; fsync; " +
           std::to_string(static_cast<std::uint64_t>(plain)) + " per second without a transformation";
  return f;
}

} // namespace bench
