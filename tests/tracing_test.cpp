#include "support/account.hpp"
#include "support/otlp_collector.hpp"
#include "support/raw_server.hpp"
#include "support/slow_clock.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/trace_context.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>

using namespace eventcore;
using eventcore::test::otlp_collector;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 5min; // longer than a machine may stand still

node_options traced(const otlp_collector& to, double sample = 1) {
  node_options options;
  options.name = "till";
  options.trace.endpoint = to.url();
  options.trace.sample = sample;
  options.trace.interval = 20ms;
  return options;
}

command_context in_trace(const std::string& traceparent) {
  command_context context;
  context.metadata.traceparent = traceparent;
  return context;
}

std::string event_trace(node& n, log_position at) {
  event_page page;
  auto next = at;
  BOOST_REQUIRE(n.journal().read_log(next, page, {}, {.events = 1}));
  BOOST_REQUIRE(page.size() == 1u);
  return page.begin()->metadata.traceparent;
}

const nlohmann::json* find(const std::vector<nlohmann::json>& spans, const std::string& name) {
  const auto i =
      std::ranges::find(spans, name, [](auto& s) { return s["name"].template get<std::string>(); });
  return i == spans.end() ? nullptr : &*i;
}

struct transfer : saga<transfer> {
  static constexpr std::string_view category = "transfer";
  using input = bank::Transfer;
  static void define(definition<input>& saga) {
    saga.step("open").request<account>([](const input& t) { return to(t.to(), bank::Open{}); }).within(1h);
    saga.step("pay")
        .request<account>([](const input& t) {
          bank::Deposit d;
          d.set_cents(t.cents());
          return to(t.to(), d);
        })
        .within(1h);
  }
};

struct mirror : subscriber<mirror> {
  using events = eventcore::events<bank::Deposited>;
  reaction handle(const bank::Deposited&) { return to<account>("mirror", bank::Open{}); }
};

/// Fails at first, then asks an entity in the name of the event.
struct notary : subscriber<notary> {
  using events = eventcore::events<bank::Deposited>;
  explicit notary(host<account> accounts)
      : accounts_{std::move(accounts)} {}
  result<void> handle(const bank::Deposited&, const event_context& x) {
    if (x.attempt == 1)
      throw std::runtime_error{"no ink"};
    command_context context;
    context.metadata = x.metadata;
    if (auto seen = accounts_.ask(std::string{x.key()}, bank::GetBalance{}, patience, context); !seen)
      return seen.error();
    return {};
  }

private:
  host<account> accounts_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_commands_span_has_what_it_should) {
  otlp_collector to;
  {
    node n{open_memory_journal(), traced(to)};
    auto accounts = n.host<account>();
    accounts.tell("alice", bank::Open{});
    BOOST_REQUIRE(!accounts.ask("alice", make<bank::Withdraw>([](auto& c) { c.set_cents(5); }), patience,
                                in_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
  }
  const auto spans = to.spans();
  if (!spans)
    return;
  BOOST_REQUIRE(spans->size() == 2u);
  const auto* opened = find(*spans, "execute_command_bank.Open");
  BOOST_REQUIRE(opened);
  BOOST_TEST((*opened)["resource"]["service.name"] == "till");
  BOOST_TEST((*opened)["kind"] == 1, "internal");
  BOOST_TEST((*opened)["parent"] == "");
  auto& attributes = (*opened)["attributes"];
  BOOST_TEST(attributes["command.type"] == "bank.Open");
  BOOST_TEST(attributes["service.name"] == "till");
  BOOST_TEST(attributes["command.success"] == true);
  BOOST_TEST(attributes["events.written"] == 1);
  BOOST_TEST(attributes["eventcore.stream"] == "account-alice");
  BOOST_TEST(!attributes.contains("error.message"));
  BOOST_TEST(std::stoull((*opened)["end"].get<std::string>()) >=
             std::stoull((*opened)["begin"].get<std::string>()));
  const auto* failed = find(*spans, "execute_command_bank.Withdraw");
  BOOST_REQUIRE(failed);
  BOOST_TEST((*failed)["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736");
  BOOST_TEST((*failed)["parent"] == "00f067aa0ba902b7");
  BOOST_TEST((*failed)["attributes"]["command.success"] == false);
  BOOST_TEST((*failed)["attributes"]["error.message"] == "insufficient funds");
  BOOST_TEST((*failed)["status"]["code"] == 2);
}

BOOST_AUTO_TEST_CASE(a_saga_its_steps_and_what_follows_are_one_trace) {
  otlp_collector to;
  {
    node n{open_memory_journal(), traced(to)};
    n.host<account>();
    auto mirrored = n.subscribe<mirror>({.name = "mirror"});
    BOOST_REQUIRE(mirrored);
    auto transfers = n.saga<transfer>();
    bank::Transfer input;
    input.set_to("alice");
    input.set_cents(5);
    BOOST_REQUIRE(transfers.start("t1", input, patience));
    BOOST_TEST((*transfers.finished("t1", patience) == saga_phase::completed));
    BOOST_REQUIRE(mirrored->reached(*n.journal().head(), patience));
  }
  const auto spans = to.spans();
  if (!spans)
    return;
  std::map<std::string, const nlohmann::json*> by_id;
  std::string root;
  for (auto& s : *spans) {
    BOOST_TEST(by_id.emplace(s["span"].get<std::string>(), &s).second, "ids are unique");
    if (s["parent"] == "") {
      BOOST_TEST(root.empty(), "one begins it");
      root = s["name"];
    }
  }
  BOOST_TEST(root == "execute_command_eventcore.StartSaga");
  for (auto& s : *spans) {
    BOOST_TEST(s["trace"] == spans->front()["trace"]);
    BOOST_TEST((s["parent"] == "" || by_id.contains(s["parent"].get<std::string>())), s.dump());
  }
  const auto* paid = find(*spans, "execute_command_bank.Deposit");
  BOOST_REQUIRE(paid);
  BOOST_TEST((*by_id.at((*paid)["parent"]))["name"] == "execute_command_eventcore.StartSaga");
  const auto reaction = std::ranges::find_if(*spans, [](auto& s) {
    return s["attributes"].contains("eventcore.stream") &&
           s["attributes"]["eventcore.stream"] == "account-mirror";
  });
  BOOST_REQUIRE((reaction != spans->end()));
  const auto& handled = *by_id.at((*reaction)["parent"]);
  BOOST_TEST(handled["name"] == "handle_event_bank.Deposited", "a reaction follows from its handler");
  BOOST_TEST(handled["parent"] == (*paid)["span"], "which follows from the event's command");
}

BOOST_AUTO_TEST_CASE(a_handlers_tries_are_spans_and_what_it_sends_is_their_child) {
  otlp_collector to;
  const auto parent = trace_context::begin(true);
  {
    journal_options of_till;
    of_till.service = "till";
    node n{open_memory_journal(of_till), traced(to)};
    auto accounts = n.host<account>();
    auto notes = n.subscribe<notary>({.name = "notes", .backoff = 1ms},
                                     [&] { return std::make_unique<notary>(accounts); });
    BOOST_REQUIRE(notes);
    accounts.tell("alice", bank::Open{}, in_trace(parent.str()));
    const auto deposit = make<bank::Deposit>([](auto& d) { d.set_cents(5); });
    BOOST_REQUIRE(accounts.ask("alice", deposit, patience, in_trace(parent.str())));
    BOOST_REQUIRE(notes->reached(2, patience));
  }
  const auto spans = to.spans();
  if (!spans)
    return;
  std::map<int, const nlohmann::json*> tries;
  for (auto& s : *spans) {
    BOOST_TEST(s["trace"] == parent.trace_id());
    if (s["name"] == "handle_event_bank.Deposited")
      tries[s["attributes"]["eventcore.attempt"].get<int>()] = &s;
    else
      BOOST_TEST(!s["name"].get<std::string>().starts_with("handle_event_"),
                 "an event that is not declared has none");
  }
  BOOST_REQUIRE(tries.size() == 2u);
  const auto* paid = find(*spans, "execute_command_bank.Deposit");
  const auto* asked = find(*spans, "execute_command_bank.GetBalance");
  BOOST_REQUIRE((paid && asked));
  for (auto& [attempt, span] : tries) {
    auto& s = *span;
    BOOST_TEST(s["kind"] == 5, "consumer");
    BOOST_TEST(s["parent"] == (*paid)["span"]);
    auto& attributes = s["attributes"];
    BOOST_TEST(attributes["event.type"] == "bank.Deposited");
    BOOST_TEST(attributes["service.name"] == "till");
    BOOST_TEST(attributes["event.success"] == (attempt == 2));
    BOOST_TEST(attributes["eventcore.subscription"] == "notes");
    BOOST_TEST(attributes["eventcore.source"] == "till");
    BOOST_TEST(attributes["eventcore.stream"] == "account-alice");
    BOOST_TEST(attributes["eventcore.position"] == 2);
  }
  const std::string why = tries[1]->at("attributes").value("error.message", "");
  BOOST_TEST((why.find("account-alice") != why.npos && why.find("no ink") != why.npos), why);
  BOOST_TEST((*tries[1])["status"]["code"] == 2);
  BOOST_TEST(!tries[2]->at("attributes").contains("error.message"));
  BOOST_TEST((*asked)["parent"] == (*tries[2])["span"]);
}

BOOST_AUTO_TEST_CASE(events_carry_the_span_of_their_command) {
  otlp_collector to;
  node n{open_memory_journal(), traced(to)};
  const auto parent = trace_context::begin(true);
  n.host<account>().tell("alice", bank::Open{}, in_trace(parent.str()));
  BOOST_REQUIRE(n.host<account>().ask("alice", bank::GetBalance{}, patience));
  const auto written = trace_context::parse(event_trace(n, 1));
  BOOST_REQUIRE(written);
  BOOST_TEST(written->trace_id() == parent.trace_id());
  BOOST_TEST(written->span != parent.span);
  BOOST_TEST(written->sampled);
}

BOOST_AUTO_TEST_CASE(what_is_not_recorded_is_passed_on_and_begins_nothing) {
  otlp_collector to;
  {
    node n{open_memory_journal(), traced(to)};
    auto accounts = n.host<account>();
    const auto unsampled = trace_context::begin(false).str();
    accounts.tell("alice", bank::Open{}, in_trace(unsampled));
    command_context caused;
    caused.metadata.causation_id = "something else";
    accounts.tell("bob", bank::Open{}, caused);
    BOOST_REQUIRE(accounts.ask("bob", bank::GetBalance{}, patience, in_trace(unsampled)));
    BOOST_REQUIRE(accounts.ask("alice", bank::GetBalance{}, patience, in_trace(unsampled)));
    BOOST_REQUIRE(accounts.ask("alice", make<bank::Deposit>([](auto& d) { d.set_cents(5); }), patience,
                               in_trace(unsampled)));
    auto mirrored = n.subscribe<mirror>({.name = "mirror"});
    BOOST_REQUIRE((mirrored && mirrored->reached(3, patience)));
    std::set<std::string> written{event_trace(n, 1), event_trace(n, 2)};
    BOOST_TEST((written == std::set<std::string>{"", unsampled}));
    BOOST_TEST(event_trace(n, 4) == unsampled, "a reaction's events belong to the trace as well");
  }
  BOOST_TEST(to.requests() == 0);
}

BOOST_AUTO_TEST_CASE(a_header_that_is_garbage_begins_a_new_trace_and_goes_no_further) {
  otlp_collector to;
  node n{open_memory_journal(), traced(to)};
  auto accounts = n.host<account>();
  int position = 0;
  for (auto& garbage : {std::string{"garbage"}, std::string(100'000, '0'),
                        std::string{"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
                        std::string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}}) {
    const auto id = std::to_string(++position);
    accounts.tell(id, bank::Open{}, in_trace(garbage));
    BOOST_REQUIRE(accounts.ask(id, bank::GetBalance{}, patience));
    const auto written = trace_context::parse(event_trace(n, static_cast<log_position>(position)));
    BOOST_REQUIRE(written);
    BOOST_TEST(written->trace_id() != "4bf92f3577b34da6a3ce929d0e0e4736");
  }
  const auto future = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
  accounts.tell("future", bank::Open{}, in_trace(future));
  BOOST_REQUIRE(accounts.ask("future", bank::GetBalance{}, patience));
  BOOST_TEST(trace_context::parse(event_trace(n, 5))->trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736");
}

BOOST_AUTO_TEST_CASE(the_ratio_decides_for_new_traces_alone) {
  otlp_collector to;
  {
    node n{open_memory_journal(), traced(to, 0)};
    auto accounts = n.host<account>();
    for (int i = 0; i < 100; ++i)
      accounts.tell(std::to_string(i), bank::Open{});
    BOOST_REQUIRE(
        accounts.ask("x", bank::GetBalance{}, patience, in_trace(trace_context::begin(true).str())));
  }
  if (const auto spans = to.spans()) {
    BOOST_REQUIRE(spans->size() == 1u);
    BOOST_TEST((*spans)[0]["name"] == "execute_command_bank.GetBalance");
  }
}

BOOST_AUTO_TEST_CASE(a_call_over_http_is_a_span_whose_context_the_target_gets) {
  otlp_collector to;
  std::string got;
  {
    httplib::Server target;
    target.Get("/", [&](const httplib::Request& request, httplib::Response&) {
      got = request.get_header_value("traceparent");
    });
    const auto port = target.bind_to_any_port("127.0.0.1");
    std::thread thread{[&] { target.listen_after_bind(); }};
    node n{open_memory_journal(), traced(to)};
    auto client =
        start_http_client(n.system(), {.name = "shop", .url = "http://127.0.0.1:" + std::to_string(port)});
    BOOST_REQUIRE(client);
    const auto parent = trace_context::begin(true);
    caf::scoped_actor self{n.system()};
    HttpCall call;
    call.set_method(HttpCall::METHOD_GET);
    call.set_path("/");
    bool answered = false;
    self->request(actor_of(*client), patience, in_trace(parent.str()), call)
        .receive([&](const HttpAnswer&) { answered = true; }, [&](const caf::error&) {});
    BOOST_TEST(answered);
    target.stop();
    thread.join();
    BOOST_REQUIRE(trace_context::parse(got));
    BOOST_TEST(trace_context::parse(got)->trace_id() == parent.trace_id());
    BOOST_TEST(trace_context::parse(got)->span != parent.span);
  }
  if (const auto spans = to.spans()) {
    BOOST_REQUIRE(spans->size() == 1u);
    BOOST_TEST((*spans)[0]["kind"] == 3, "client");
    BOOST_TEST((*spans)[0]["span"] == trace_context::parse(got)->span_id());
  }
}

BOOST_AUTO_TEST_CASE(a_collector_that_is_busy_is_asked_again) {
  std::atomic<int> asked = 0;
  otlp_collector to{[&] { return ++asked == 1 ? 503 : 200; }};
  {
    node n{open_memory_journal(), traced(to)};
    n.host<account>().tell("alice", bank::Open{});
    while (asked < 2)
      std::this_thread::sleep_for(1ms);
  }
  if (const auto spans = to.spans())
    BOOST_TEST(spans->size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_collector_that_never_answers_keeps_nobody_waiting) {
  test::raw_server silent{[](auto& peer) { peer.wait_until_gone(); }};
  node_options options;
  options.name = "till";
  options.admin.listen = "0";
  options.trace.endpoint = silent.url();
  options.trace.max_waiting = 64;
  options.trace.batch = 16;
  std::string page;
  std::optional<test::slow_clock> ending;
  {
    node n{open_memory_journal(), options};
    auto accounts = n.host<account>();
    accounts.tell("alice", bank::Open{});
    for (int i = 0; i < 1'000; ++i)
      BOOST_REQUIRE(accounts.ask("alice", bank::GetBalance{}, patience));
    httplib::Client client{"http://" + n.admin_address()};
    auto answer = client.Get("/metrics");
    BOOST_REQUIRE(answer);
    page = answer->body;
    ending.emplace();
  }
  const auto at = page.find("\neventcore_spans_dropped_total{service=\"till\"} ");
  BOOST_REQUIRE(at != std::string::npos);
  BOOST_TEST(std::stoi(page.substr(page.find('}', at) + 2)) > 800);
  BOOST_TEST((ending->elapsed() < 5s), "nor the node's end");
}
