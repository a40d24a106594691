import { findBase } from '../src/models/base.ts'
