-- Rows as version 1 of the tables (0001_initial.sql) holds them: two traces of one run, of which the later one named it.
CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO migration VALUES (1, '0001_initial.sql');
INSERT INTO resource VALUES ('r1', '{"service.name": "rag-api"}', 0, '');
INSERT INTO scope VALUES ('s1', 'my.library', '1.0', '{}', 0, '');
INSERT INTO span VALUES
    ('0af7651916cd43dd8448eb211c80319c', '0000000000000001', '', 'ask', 1, 1767225600000000000, 1767225600100000000, 0, '',
        '{"evalvault.stage.type": "output", "evalvault.run.id": "nightly"}', NULL, NULL, NULL, NULL, NULL, 0, '', 'r1', 's1', 1),
    ('11111111111111111111111111111111', '0000000000000001', '', 'ask', 1, 1767225600000000000, 1767225600050000000, 0, '',
        '{"evalvault.stage.type": "output", "evalvault.run.id": "nightly"}', NULL, NULL, NULL, NULL, NULL, 0, '', 'r1', 's1', 1);
INSERT INTO trace VALUES
    ('0af7651916cd43dd8448eb211c80319c', 'nightly', '0000000000000001', 1767225600000000000, 1767225600100000000, 1, false,
        NULL, NULL, 1, 1, 1, 1),
    ('11111111111111111111111111111111', 'nightly', '0000000000000001', 1767225600000000000, 1767225600050000000, 1, false,
        NULL, NULL, 1, 1, 1, 1);
INSERT INTO stage_event (trace_id, stage_id, run_id, stage_type, status, attempt, attributes, derived) VALUES
    ('0af7651916cd43dd8448eb211c80319c', '0000000000000001', 'nightly', 'output', 'success', 1, '{}', false),
    ('11111111111111111111111111111111', '0000000000000001', 'nightly', 'output', 'success', 1, '{}', false);
INSERT INTO run_trace VALUES
    ('0af7651916cd43dd8448eb211c80319c', 'nightly', 'rag-api', 'ask', 1767225600000000000, 1767225600100000000, 1, 0,
        ',output,', 0, 0, 0, NULL),
    ('11111111111111111111111111111111', 'nightly', 'rag-api', 'ask', 1767225600000000000, 1767225600050000000, 1, 0,
        ',output,', 0, 0, 0, NULL);
INSERT INTO run VALUES
    ('nightly', 'my run', 'offline', 'insurance-qa', '1.2', 'rag-api', 1767225600000000000, 1767225600100000000);
INSERT INTO reject (received_ns, transport, peer, reason, size, payload) VALUES (1, 'grpc', 'p', 'why', 1, '');
