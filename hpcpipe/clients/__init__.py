"""Other computers' answers: files fetched from other people's servers, and language models asked.

Well behaved; knows nothing of runs, shards or formats.

For who fetches:
    fetcher      fetch a stream of URLs, many at once
    options      limits, patience, and what is obeyed
    records      what goes in and what comes out
    failure      why a URL could not be fetched

From one state to the next:
    engine       names, rules, turns, transfers, retries
    traffic      transfers under way, and room for more
    job          one URL on its way
    schedule     whose turn it is
    deadlines    when each job is given up
    clock        stands still while the caller is busy
    memory       how many bytes may be held at once
    manners      what is concluded from how a host answers
    host         what is remembered of a host

Names and rules:
    url          URLs taken apart and checked
    addresses    which IP addresses are refused
    resolver     names to addresses, kept for a while
    lookups      threads that look names up
    proxies      which proxy the environment names
    rule_desk    asks hosts for their rules
    host_rules   robots.txt and the TDM file
    robots       robots.txt, read for one agent
    opt_out      what headers say about the use of a file

HTTP, by libcurl:
    connections  many transfers at once in one thread
    transfer     one transfer, judged as it comes
    head         status and headers of an answer
    trust        which certificates are trusted
    curl_errors  what libcurl's error codes mean

For who asks language models:
    llm_client    ask many questions, at several servers at once
    llm_options   which model, and how its servers are asked
    llm_records   what goes in and what comes out
    llm_start     servers that a worker starts for itself
    llm_failure   why there is no answer, and whose fault that is

Behind it:
    llm_tries     one question, tried at one server after the other
    llm_hedges    the last requests, at two servers where that is quicker
    llm_loop      the event loop, which a Ctrl-C ends between two steps
    llm_api       requests and answers of Ollama and OpenAI
    llm_exchange  one request to one server
    llm_server    one server: what is in flight, and whether it is well
    llm_pool      which server gets the next request
    llm_ready     waiting for servers at the beginning
    llm_cancel    ends what is still asked
    llm_guard     ends a started server when its worker is gone
"""
